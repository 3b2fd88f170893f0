//! The binary interface only grows: include/gguffuse.abi records every function, struct field, constant and type of the
//! header, and what is recorded there must stay in the header as it is. tests/exports.rs holds the header's functions
//! against the symbols of the shared library.

mod c_toolchain;

use c_toolchain::{compiler, directory, language, run};
use std::collections::BTreeSet;
use std::path::Path;

const HEADER: &str = include_str!("../include/gguffuse.h");
const RECORD: &str = include_str!("../include/gguffuse.abi");

/// A field of a struct, and where it lies on machines with pointers of 64 bits.
struct Field {
    of: String,
    name: String,
    offset: usize,
}

/// What programs are compiled against, in the order of the header.
#[derive(Default)]
struct Interface {
    lines: Vec<String>,
    fields: Vec<Field>,
}

fn interface(header: &str) -> Interface {
    let mut found = Interface::default();
    for line in without_comments(header).lines() {
        if let Some((name, value)) = line.strip_prefix("#define GGUFFUSE_").and_then(|rest| rest.split_once(' ')) {
            found.lines.push(format!("constant GGUFFUSE_{name} = {value}"));
        }
    }
    for statement in statements(header) {
        found.add(&statement);
    }
    found
}

fn without_comments(header: &str) -> String {
    let mut code = String::new();
    let mut rest = header;
    while let Some((before, after)) = rest.split_once("/*") {
        code += before;
        rest = after.split_once("*/").expect("the end of a comment").1;
    }
    code += rest;
    let lines = code.lines().map(|line| line.split_once("//").map_or(line, |(before, _)| before).trim());
    lines.collect::<Vec<_>>().join("\n")
}

/// Declarations, each on one line with single spaces.
fn statements(header: &str) -> Vec<String> {
    let code = without_comments(header);
    let code: Vec<&str> = code.lines().filter(|line| !line.starts_with('#')).collect();
    let code = code.join(" ").replace("extern \"C\" {", "");
    let mut statements = Vec::new();
    let (mut statement, mut depth) = (String::new(), 0);
    for character in code.chars() {
        depth += i32::from(character == '{') - i32::from(character == '}');
        if character == ';' && depth == 0 {
            statements.push(statement.split_whitespace().collect::<Vec<_>>().join(" "));
            statement.clear();
        } else if depth >= 0 {
            statement.push(character);
        } else {
            depth = 0; // the end of extern "C"
        }
    }
    assert_eq!(statement.trim(), "", "a declaration without end");
    statements
}

impl Interface {
    fn add(&mut self, statement: &str) {
        let words: Vec<&str> = statement.split(' ').collect();
        match words.as_slice() {
            ["typedef", "enum", ..] => {} // C23's form of the typedef of an integer
            ["enum", _, ":", _, "{", ..] => {
                for constant in body(statement).split(',').map(str::trim).filter(|constant| !constant.is_empty()) {
                    self.lines.push(format!("constant {constant}"));
                }
            }
            ["typedef", "struct", name, again] if name == again => self.lines.push(format!("handle {name}")),
            ["typedef", "struct", name, "{", ..] | ["struct", name, "{", ..] => self.add_struct(name, body(statement)),
            ["typedef", kind, name] => self.lines.push(format!("type {name} = {kind}")),
            ["typedef", "void", ..] => {
                let (name, arguments) = statement.split_once(")(").expect("a type of functions");
                let name = name.strip_prefix("typedef void (*").expect("its name");
                self.lines.push(format!("callback void {name}({})", types(arguments)));
            }
            _ => {
                let (declared, arguments) = statement.split_once('(').expect("a function");
                self.lines.push(format!("function {declared}({})", types(arguments)));
            }
        }
    }

    fn add_struct(&mut self, of: &str, body: &str) {
        let mut end = 0usize;
        for declaration in body.split(';').map(str::trim).filter(|declaration| !declaration.is_empty()) {
            let (element, count) = match declaration.split_once('[') {
                Some((element, count)) => (element, count.trim_end_matches(']').parse().expect("a number")),
                None => (declaration, 1),
            };
            let (kind, name) = type_and_name(element);
            let size = match kind {
                _ if kind.ends_with('*') => 8,
                "size_t" | "uint64_t" => 8,
                "uint32_t" => 4,
                _ => panic!("what is the size of {kind}? In {of}"),
            };
            let offset = end.next_multiple_of(size);
            end = offset + size * count;
            self.lines.push(format!("field {of} at {offset}: {declaration}"));
            self.fields.push(Field { of: of.into(), name: name.into(), offset });
        }
    }
}

fn body(statement: &str) -> &str {
    let (_, body) = statement.split_once('{').expect("a body");
    body.rsplit_once('}').expect("its end").0
}

/// The types of a list of parameters that ends with a parenthesis.
fn types(arguments: &str) -> String {
    let arguments = arguments.strip_suffix(')').expect("the end of the arguments");
    if arguments == "void" {
        return arguments.into();
    }
    arguments.split(',').map(|argument| type_and_name(argument.trim()).0).collect::<Vec<_>>().join(", ")
}

fn type_and_name(declaration: &str) -> (&str, &str) {
    let name = declaration.rfind([' ', '*']).expect("a type and a name") + 1;
    (declaration[..name].trim(), &declaration[name..])
}

fn recorded(record: &str) -> Vec<&str> {
    record.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// Lines of the record that the header doesn't have any more.
fn broken<'r>(record: &'r str, header: &str) -> Vec<&'r str> {
    let current: BTreeSet<String> = interface(header).lines.into_iter().collect();
    recorded(record).into_iter().filter(|line| !current.contains(*line)).collect()
}

#[test]
fn nothing_disappeared_or_changed() {
    let broken = broken(RECORD, HEADER);
    assert!(
        broken.is_empty(),
        "programs that were compiled before would break: this is recorded in include/gguffuse.abi and not in \
         include/gguffuse.h:\n{}",
        broken.join("\n")
    );
}

#[test]
fn everything_is_recorded_once() {
    let recorded = recorded(RECORD);
    let unique: BTreeSet<&str> = recorded.iter().copied().collect();
    assert_eq!(unique.len(), recorded.len(), "a line stands in include/gguffuse.abi twice");
    let new: Vec<String> = interface(HEADER).lines.into_iter().filter(|line| !unique.contains(line.as_str())).collect();
    assert!(new.is_empty(), "new in the header; append to include/gguffuse.abi:\n{}", new.join("\n"));
}

#[test]
fn offsets_are_the_compilers() {
    if cfg!(not(target_pointer_width = "64")) {
        return;
    }
    let fields = interface(HEADER).fields;
    let mut source = String::from("#include \"gguffuse.h\"\n");
    for (index, Field { of, name, offset }) in fields.iter().enumerate() {
        source += &format!("typedef char at{index}[offsetof(struct {of}, {name}) == {offset} ? 1 : -1];\n");
    }
    // Fields that follow the struct's last would be missing from the record.
    let is_last = |index: usize| fields.get(index + 1).is_none_or(|next| next.of != fields[index].of);
    for (index, last) in fields.iter().enumerate().filter(|(index, _)| is_last(*index)) {
        source += &format!(
            "typedef char end{index}[sizeof(struct {0}) - offsetof(struct {0}, {1}) - sizeof(((struct {0} *)0)->{1}) \
             < 8 ? 1 : -1];\n",
            last.of, last.name
        );
    }
    let directory = directory("abi");
    let file = directory.join("offsets.c");
    std::fs::write(&file, source).expect("written");
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    run(compiler().args(language("c99")).arg("-fsyntax-only").arg("-I").arg(include).arg(&file))
        .unwrap_or_else(|reason| panic!("{reason}"));
    std::fs::remove_dir_all(directory).expect("removed");
}

/// Every way to break the interface is noticed, in this very header.
#[test]
fn what_would_break_programs_is_noticed() {
    let mutate = |from: &str, to: &str| {
        assert_eq!(HEADER.matches(from).count(), 1, "{from:?} is to occur once");
        broken(RECORD, &HEADER.replace(from, to)).into_iter().map(str::to_string).collect::<Vec<_>>()
    };
    let gone = "function gguffuse_status gguffuse_file_close(struct gguffuse_file *)";
    let removed = mutate("gguffuse_status gguffuse_file_close(struct gguffuse_file *file);", "");
    assert_eq!(removed, [gone]);
    let another = mutate("gguffuse_isa_name(size_t index)", "gguffuse_isa_name(uint32_t index)");
    assert_eq!(another, ["function const char *gguffuse_isa_name(size_t)"]);
    assert_eq!(mutate("GGUFFUSE_ERROR_BUSY = 17,", "GGUFFUSE_ERROR_BUSY = 71,"), ["constant GGUFFUSE_ERROR_BUSY = 17"]);
    assert_eq!(
        mutate("#define GGUFFUSE_ABI_VERSION 0", "#define GGUFFUSE_ABI_VERSION 1"),
        ["constant GGUFFUSE_ABI_VERSION = 0"]
    );
    assert_eq!(
        mutate("typedef int32_t gguffuse_status;", "typedef int64_t gguffuse_status;"),
        ["type gguffuse_status = int32_t"]
    );
    let callback = mutate("const char *message, void *user_data);", "const char *message);");
    assert_eq!(callback, ["callback void gguffuse_log_callback(uint32_t, const char *, void *)"]);
    // A field in the middle moves all that follow; one at the end moves none.
    let moved = mutate("  const char *max_isa;\n", "  uint64_t new_one;\n  const char *max_isa;\n");
    assert_eq!(moved, ["field gguffuse_context_options at 16: const char *max_isa"]);
    assert!(mutate("  const char *max_isa;\n", "  const char *max_isa;\n  uint64_t new_one;\n").is_empty());
    let gone = "field gguffuse_open_options at 0: size_t older_name";
    assert_eq!(broken(gone, HEADER), [gone]);
}
