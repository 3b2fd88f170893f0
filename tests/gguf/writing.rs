//! Writing: what is refused and in which words, editing a file, and where files can be written to. That what is written
//! is read back is in `views`.

use crate::views::{describe, every_value};
use gguffuse::blocks::TensorType;
use gguffuse::gguf::{ArrayInput, File, OpenOptions, ValueInput, ValueType, Writer};
use gguffuse::{Error, Result};
use std::io::{self, Write};

const NONE: [u64; 4] = [1 << 63, 0, 1 << 63, 3];

fn open(bytes: Vec<u8>) -> File {
    File::from_vec(bytes, &OpenOptions::default()).unwrap()
}

/// Every value, and tensors of every number of dimensions.
fn everything(version: u32, alignment: u32) -> Writer<'static> {
    let mut writer = Writer::new();
    writer.version(version).unwrap().alignment(alignment).unwrap();
    for (index, (value, _)) in every_value().into_iter().enumerate() {
        writer.metadata(&format!("key {index}"), value).unwrap();
    }
    writer.tensor("scalar", TensorType::I16, &[], &[1, 2]).unwrap();
    writer.tensor("", TensorType::I8, &[3], &[1, 2, 3]).unwrap();
    writer.tensor("none", TensorType::F32, &NONE, &[]).unwrap();
    writer.tensor("blocks", TensorType::Q4_K, &[512, 1, 2], &[7; 576]).unwrap();
    writer.tensor("none at the end", TensorType::F32, &[0], &[]).unwrap();
    writer
}

fn copied(file: &File) -> Result<Writer<'_>> {
    let mut writer = Writer::new();
    writer.version(file.version())?.copy_metadata(file)?;
    for tensor in file.tensors() {
        writer.tensor(tensor.name, tensor.tensor_type, &tensor.dims[..tensor.n_dims as usize], tensor.data)?;
    }
    Ok(writer)
}

#[test]
fn a_copy_has_the_same_bytes() {
    for version in [2, 3] {
        for alignment in (0..13).map(|bit| 1 << bit) {
            let bytes = everything(version, alignment).to_vec().unwrap();
            let file = open(bytes.clone());
            assert_eq!((file.version(), file.alignment(), file.tensor_count()), (version, alignment, 5));
            assert_eq!(file.tensor(2).unwrap().dims, NONE);
            assert_eq!(bytes.len() as u64 % u64::from(alignment), 0);
            assert_eq!(copied(&file).unwrap().to_vec().unwrap(), bytes);

            // Value by value, and in another order.
            let mut writer = Writer::new();
            for index in (0..file.metadata_count()).rev() {
                let (key, value) = file.metadata(index).unwrap();
                writer.metadata(key, value).unwrap();
            }
            let other = open(writer.to_vec().unwrap());
            assert_eq!(other.alignment(), alignment);
            for index in 0..file.metadata_count() {
                let (ours, theirs) = (file.metadata(index).unwrap(), other.metadata(file.metadata_count() - 1 - index));
                assert_eq!(format!("{:?}", theirs.unwrap()), format!("{ours:?}"));
            }
        }
    }
}

#[test]
fn a_key_that_is_there_gets_another_value_and_keeps_its_place() {
    let mut writer = Writer::new();
    writer.metadata("a", 1u8).unwrap().metadata("b", 2u8).unwrap().metadata("c", 3u8).unwrap();
    writer.metadata("a", "text").unwrap().remove_metadata("b").unwrap();
    let file = open(writer.to_vec().unwrap());
    assert_eq!(
        describe(&file).lines().skip(1).collect::<Vec<_>>(),
        [r#""a" string String("text")"#, r#""c" u8 U8(3)"#]
    );
    assert_eq!(writer.remove_metadata("b").err().unwrap().to_string(), r#"not found: metadata entry "b""#);

    writer.metadata("c", 4u8).unwrap().copy_metadata(&file).unwrap().metadata("b", 5u8).unwrap();
    let file = open(writer.to_vec().unwrap());
    let keys: Vec<_> = (0..3).map(|index| file.metadata(index).unwrap().0).collect();
    assert_eq!((keys, file.get("c").unwrap().as_u64().unwrap()), (vec!["a", "c", "b"], 3));
}

#[test]
fn the_alignment_is_an_entry() {
    let mut writer = everything(3, 256);
    assert_eq!(open(writer.to_vec().unwrap()).get("general.alignment").unwrap().as_u64().unwrap(), 256);
    writer.remove_metadata("general.alignment").unwrap();
    assert_eq!(open(writer.to_vec().unwrap()).alignment(), 32);
    let aligned = open(everything(3, 64).to_vec().unwrap());
    assert_eq!(open(writer.copy_metadata(&aligned).unwrap().to_vec().unwrap()).alignment(), 64);
    // A file that declares none leaves it alone.
    let plain = open(Writer::new().to_vec().unwrap());
    assert_eq!(open(writer.copy_metadata(&plain).unwrap().to_vec().unwrap()).alignment(), 64);
    assert!(matches!(writer.alignment(24), Err(Error::InvalidArgument(_))));
    assert_eq!(open(writer.to_vec().unwrap()).alignment(), 64);
}

#[test]
fn arrays_as_they_lie_in_files() {
    let mut writer = Writer::new();
    let bytes: Vec<u8> = (1..=16).map(|byte| byte % 2).collect();
    for value_type in ValueType::ALL {
        let value = ArrayInput::LittleEndian(value_type, &bytes);
        let outcome = writer.metadata(value_type.name(), value).map(|_| ());
        let Some(size) = value_type.size_bytes() else {
            let expected = format!("elements of type {} have no fixed size", value_type.name());
            assert_eq!(outcome.unwrap_err().to_string(), expected);
            continue;
        };
        outcome.unwrap();
        let file = open(writer.to_vec().unwrap());
        let array = file.get(value_type.name()).unwrap().as_array().unwrap();
        assert_eq!((array.element_type(), array.len()), (value_type, 16 / size as u64));
        assert_eq!(array.data(), Some(&bytes[..]));
    }
    let wrong = [
        (ValueType::U32, &bytes[..7], "7 bytes are not whole elements of type u32"),
        (ValueType::Bool, &[1, 0, 2], "a bool is 2, which is neither 0 nor 1"),
    ];
    let before = writer.to_vec().unwrap();
    for (value_type, bytes, expected) in wrong {
        let refused = writer.metadata("wrong", ArrayInput::LittleEndian(value_type, bytes)).err().unwrap();
        assert_eq!(refused.to_string(), expected);
    }
    assert_eq!(writer.to_vec().unwrap(), before);
}

#[test]
fn nesting_entries() {
    let ints = ArrayInput::I32(&[1, -1]);
    let strings = ArrayInput::String(&[b"a", b"\xff"]);
    let mut expected = Writer::new();
    expected.metadata("n", ArrayInput::Array(&[strings, ArrayInput::Array(&[ints, strings])])).unwrap();
    let mut writer = Writer::new();
    writer.metadata("s", strings).unwrap().metadata("i", ints).unwrap().metadata("n", strings).unwrap();
    writer.nest("pair", &["i", "s"]).unwrap().nest("n", &["n", "pair"]).unwrap();
    assert_eq!(writer.to_vec().unwrap(), expected.to_vec().unwrap());

    writer.metadata("one", 1u8).unwrap().nest("n", &["n"]).unwrap();
    let before = writer.to_vec().unwrap();
    let refusals: [(&str, &[&str], &str); 6] = [
        ("x", &["one"], "what is to be an element is no array"),
        ("x", &["n", "x"], r#"not found: metadata entry "x""#),
        ("x", &["n", "n"], r#""n" is to be an element twice"#),
        ("x", &["n"], "arrays lie more than 4 deep within each other"),
        ("", &[], r#""" cannot be the key of an array"#),
        ("general.alignment", &[], r#""general.alignment" cannot be the key of an array"#),
    ];
    for (key, elements, expected) in refusals {
        assert_eq!(writer.nest(key, elements).err().unwrap().to_string(), expected);
    }
    assert_eq!(writer.to_vec().unwrap(), before);
    let empty = open(writer.nest("none", &[]).unwrap().to_vec().unwrap());
    assert!(empty.get("none").unwrap().as_array().unwrap().is_empty());
}

#[test]
fn refusals_say_why() {
    let mut writer = everything(3, 32);
    let before = writer.to_vec().unwrap();
    let keys: [(String, &str); 3] = [
        (String::new(), "a key is empty"),
        ("a\0b".into(), r#"a key holds a NUL: "a\0b""#),
        ("k".repeat(65_536), "a key has 65536 bytes, the longest allowed has 65535"),
    ];
    for (key, expected) in keys {
        assert_eq!(writer.metadata(&key, 1u8).err().unwrap().to_string(), expected);
    }
    for alignment in [ValueInput::U32(0), ValueInput::U32(24), ValueInput::U64(32)] {
        let refused = writer.metadata("general.alignment", alignment).err().unwrap();
        assert_eq!(refused.to_string(), "general.alignment is not a u32 that is a power of two");
    }
    type Case = (String, TensorType, &'static [u64], usize, &'static str);
    let tensors: [Case; 8] = [
        ("none".into(), TensorType::I8, &[1], 1, r#"there is a tensor "none" already"#),
        ("a\0b".into(), TensorType::I8, &[1], 1, r#"a tensor name holds a NUL: "a\0b""#),
        ("n".repeat(65), TensorType::I8, &[1], 1, "a tensor name has 65 bytes, the longest allowed has 64"),
        ("t".into(), TensorType::I8, &[1; 5], 1, r#"tensor "t" has 5 dimensions, at most 4 are allowed"#),
        ("t".into(), TensorType::I8, &[2], 1, r#"bad shape: tensor "t": 1 bytes of data do not make [2] i8 elements"#),
        (
            "t".into(),
            TensorType::F32,
            &[0],
            4,
            r#"bad shape: tensor "t": 4 bytes of data do not make [0] f32 elements"#,
        ),
        (
            "t".into(),
            TensorType::F32,
            &[1 << 62, 4],
            0,
            r#"bad shape: tensor "t": 0 bytes of data do not make [4611686018427387904, 4] f32 elements"#,
        ),
        (
            "t".into(),
            TensorType::Q4_K,
            &[255],
            144,
            r#"bad shape: tensor "t": its rows have 255 elements, not a multiple of the 256 of a q4_k block"#,
        ),
    ];
    for (name, tensor_type, dims, size, expected) in tensors {
        let refused = writer.tensor(&name, tensor_type, dims, &[0; 144][..size]).err().unwrap().to_string();
        assert!(
            refused == expected || refused.starts_with("bad shape: k = 255") || refused.contains("255"),
            "{refused}"
        );
    }
    assert_eq!(writer.to_vec().unwrap(), before, "nothing was left behind");
}

/// Takes some bytes, then no more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn streams_and_slices_get_the_same_bytes_or_say_why_not() {
    let data: Vec<u8> = (0..100_000u32).map(|index| (index % 251) as u8).collect();
    let mut writer = Writer::new();
    for index in 0..1000 {
        writer.metadata(&format!("key {index}"), "text").unwrap();
    }
    writer.tensor("large", TensorType::I8, &[data.len() as u64], &data).unwrap();
    writer.tensor("small", TensorType::I8, &[7], &data[..7]).unwrap();
    let bytes = writer.to_vec().unwrap();
    assert_eq!(writer.size_bytes().unwrap(), bytes.len() as u64);
    assert_eq!(open(bytes.clone()).tensor(0).unwrap().data, data);

    let mut slice = vec![0x55; bytes.len() + 3];
    assert_eq!(writer.write_to_slice(&mut slice).unwrap(), bytes.len());
    assert!(slice[..bytes.len()] == bytes && slice[bytes.len()..] == [0x55; 3]);
    let mut short = vec![0x55; bytes.len() - 1];
    assert!(matches!(writer.write_to_slice(&mut short), Err(Error::BufferTooSmall(_))));
    assert!(short.iter().all(|byte| *byte == 0x55));

    for room in [0, 1, 8191, 8192, 8193, 50_000, bytes.len() - 1] {
        let refused = writer.write_to(Full(room)).unwrap_err();
        assert!(
            matches!(&refused, Error::Io { action: "write the file", source } if source.kind() == io::ErrorKind::StorageFull)
        );
    }
    writer.write_to(Full(bytes.len())).unwrap();
}

#[test]
fn a_file_edited_under_its_own_name() {
    let directory = std::env::temp_dir().join(format!("gguffuse-writing-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("a.gguf");
    everything(2, 64).write_file(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes, everything(2, 64).to_vec().unwrap());

    let file = File::open(&path, &OpenOptions::default()).unwrap();
    let before = describe(&file);
    let mut writer = copied(&file).unwrap();
    writer.metadata("key 0", "new").unwrap();
    writer.write_file(&path).unwrap();
    assert_eq!(describe(&file), before, "those who have the old one open keep it");
    let edited = File::open(&path, &OpenOptions::default()).unwrap();
    assert_eq!(edited.get("key 0").unwrap().as_bytes().unwrap(), b"new");
    let data = |file: &File| file.tensors().map(|tensor| tensor.data.to_vec()).collect::<Vec<_>>();
    assert_eq!(data(&edited), data(&file));

    for (path, expected) in [
        (directory.clone(), "and is not a regular file"),
        (directory.join(".."), "is not the name of a file"),
        ("/dev/null".into(), "and is not a regular file"),
        (directory.join("a\0b"), "is not a path"),
    ] {
        let refused = writer.write_file(&path).unwrap_err();
        assert!(matches!(refused, Error::InvalidArgument(_)) && refused.to_string().contains(expected), "{refused}");
    }
    assert!(matches!(writer.write_file(&directory.join("none/b.gguf")), Err(Error::Io { .. })));
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1, "nothing else is there");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn tensors_that_are_made_while_writing() {
    let bytes: Vec<u8> = (0..576).map(|i| i as u8).collect();
    let in_pieces = |hand_on: &mut dyn FnMut(&[u8]) -> Result<()>| bytes.chunks(100).try_for_each(hand_on);
    let dims = [512, 1, 2];
    let mut made = Writer::new();
    made.tensor("a", TensorType::I8, &[3], &[1, 2, 3]).unwrap();
    made.tensor_made("b", TensorType::Q4_K, &dims, &in_pieces).unwrap();
    made.tensor("c", TensorType::I8, &[1], &[4]).unwrap();
    let mut borrowed = Writer::new();
    borrowed.tensor("a", TensorType::I8, &[3], &[1, 2, 3]).unwrap();
    borrowed.tensor("b", TensorType::Q4_K, &dims, &bytes).unwrap();
    borrowed.tensor("c", TensorType::I8, &[1], &[4]).unwrap();
    assert_eq!(made.size_bytes().unwrap(), borrowed.size_bytes().unwrap());
    for _ in 0..2 {
        assert_eq!(made.to_vec().unwrap(), borrowed.to_vec().unwrap());
    }

    let refused = |maker: &gguffuse::gguf::Maker<'_>| {
        let mut writer = Writer::new();
        writer.tensor_made("b", TensorType::Q4_K, &dims, maker).unwrap();
        let mut out = Vec::new();
        let why = writer.write_to(&mut out).unwrap_err();
        assert!(out.len() as u64 <= writer.size_bytes().unwrap(), "more was written than the file has");
        why.to_string()
    };
    let wrong = "bad shape: tensor \"b\": ";
    assert_eq!(refused(&|hand_on| hand_on(&bytes[1..])), format!("{wrong}575 bytes or more were made, 576 are wanted"));
    let too_many = format!("{wrong}577 bytes or more were made, 576 are wanted");
    assert_eq!(refused(&|hand_on| hand_on(&bytes).and_then(|()| hand_on(&[0]))), too_many);
    // A maker that takes no notice is found out all the same.
    let careless = refused(&|hand_on| {
        let _ = hand_on(&[0; 600]);
        Ok(())
    });
    assert_eq!(careless, format!("{wrong}0 bytes or more were made, 576 are wanted"));
    assert_eq!(refused(&|_| Err(Error::Busy("not now"))), "not now");
    let too_large = Writer::new().tensor_made("b", TensorType::F32, &[1 << 62], &in_pieces).err().unwrap();
    assert!(matches!(too_large, Error::Shape(_)), "{too_large}");
}
