//! How the command behaves in a shell: errors, pipes, terminals, completions, manual.

use crate::files::{Folder, file, float_model};
use crate::{command, fail, run, succeed, text};
use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Stdio;

const COMMANDS: [&str; 8] = ["info", "tensor", "verify", "bench", "quantize", "diff", "completions", "man"];

#[test]
fn errors_are_one_line() {
    let folder = Folder::new("errors");
    let page = folder.file("page.gguf", b"<!DOCTYPE html>");
    let short = folder.file("short.gguf", &file("x", &float_model())[..100]);
    fail(&[] as &[&str], "no command is given");
    fail(&["inf"], "unrecognized subcommand 'inf'");
    fail(&["info"], "required arguments were not provided: <FILE>");
    fail(&["info", "a", "b"], "unexpected argument 'b'");
    fail(&["info", "--jsn", "a"], "unexpected argument '--jsn'");
    fail(&["completions", "cmd"], "invalid value 'cmd'");
    fail(&["info", "\x1b[2J\n"], "No such file or directory");
    fail(&["info".as_ref(), page.as_os_str()], "this is an HTML page");
    fail(&["info".as_ref(), short.as_os_str()], "truncated GGUF file");
    fail(&["info".as_ref(), std::env::temp_dir().as_os_str()], "is not a regular file");
    fail(&["man", "--directory", "/dev/null"], "cannot write /dev/null/gguffuse.1");
}

#[test]
fn help_and_version() {
    let help = succeed(&["--help"]);
    for name in COMMANDS {
        assert!(help.contains(&format!("\n  {name} ")), "{help}");
        assert!(succeed(&[name, "--help"]).contains("Usage: gguffuse"));
    }
    assert_eq!(succeed(&["--version"]), format!("gguffuse {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_and_manual_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = succeed(&["completions", shell]);
        for name in COMMANDS.iter().chain(&["--imatrix"]) {
            assert!(script.contains(name.trim_start_matches('-')), "{shell}: {name}");
        }
    }
    let folder = Folder::new("manual");
    let page = succeed(&["man"]);
    assert!(page.contains(".TH gguffuse 1"), "{page}");
    let directory = folder.path("");
    assert_eq!(succeed(&["man".as_ref(), "--directory".as_ref(), directory.as_os_str()]), "");
    let mut expected: Vec<String> = COMMANDS.iter().map(|name| format!("gguffuse-{name}.1")).collect();
    expected.push("gguffuse.1".to_owned());
    expected.sort();
    assert_eq!(folder.names(), expected);
    assert_eq!(std::fs::read_to_string(folder.path("gguffuse.1")).unwrap(), page);
    let quantize = std::fs::read_to_string(folder.path("gguffuse-quantize.1")).unwrap();
    assert!(quantize.contains(".TH gguffuse-quantize 1") && quantize.contains("imatrix"), "{quantize}");
    // The page that `info` would have as a command of its own, or of another program, would be wrong.
    assert!(quantize.contains("gguffuse quantize") || quantize.contains("gguffuse\\-quantize"), "{quantize}");
}

#[test]
fn a_reader_that_goes_is_no_error() {
    let folder = Folder::new("pipe");
    let good = folder.file("good.gguf", &file("x", &float_model()));
    let mut tensors = float_model();
    tensors[8].3[..2].copy_from_slice(&[0xff, 0x7f]);
    let bad = folder.file("bad.gguf", &file("x", &tensors));
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    for (arguments, code) in [
        (&["info", good][..], 0),
        (&["info", "--json", good], 0),
        (&["tensor", good, "token_embd.weight"], 0),
        (&["--help"], 0),
        (&["completions", "bash"], 0),
        // What was found is told by the code.
        (&["verify", good], 0),
        (&["verify", bad], 1),
        (&["diff", good, bad], 1),
    ] {
        let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(code), String::new()), "{arguments:?}");
    }
}

/// What the command writes where stdout (or stderr) is a terminal.
fn on_terminal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let (mut master, mut slave) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: both numbers are valid to be written; NULL asks for no name and the usual settings.
    let opened = unsafe { libc::openpty(&mut master, &mut slave, null, null.cast(), null.cast()) };
    assert_eq!(opened, 0, "a terminal");
    // SAFETY: openpty has just opened both; nobody else has them.
    let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    let mut command = command(arguments);
    command.envs(variables.iter().copied()).stdin(Stdio::null());
    command.stderr(slave.try_clone().expect("the terminal twice")).stdout(slave);
    let mut child = command.spawn().expect("the command starts");
    // Else the terminal stays open.
    drop(command);
    let mut bytes = Vec::new();
    // The end is told by an error (EIO).
    let _ = File::from(master).read_to_end(&mut bytes);
    child.wait().expect("the command ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn style_only_on_terminals_and_where_wanted() {
    let folder = Folder::new("style");
    let path = folder.file("model.gguf", &file("x", &float_model()));
    let path = path.to_str().unwrap();
    let plain = succeed(&["info", path]);
    assert!(!plain.contains('\x1b'));
    let styled = on_terminal(&["info", path], &[("TERM", "xterm")]);
    assert!(styled.contains("\x1b[1mTotals\x1b[0m"), "{styled:?}");
    assert_eq!(styled.replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\r\n", "\n"), plain);
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert_eq!(on_terminal(&["info", path], &[variable]).replace("\r\n", "\n"), plain, "{variable:?}");
    }
    // The progress bar is on stderr, and gone at the end.
    let verified = on_terminal(&["verify", path], &[("TERM", "xterm"), ("COLUMNS", "100")]);
    assert!(verified.contains("all weights are finite"), "{verified:?}");
    let quiet = on_terminal(&["verify", "--quiet", path], &[("TERM", "xterm")]);
    assert_eq!(quiet, "");
    assert_eq!(run(&["verify", path]).stderr, b"");
}
