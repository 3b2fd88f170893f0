//! What is read back from valid files: values, conversions, strings, look-ups, tensors.

use crate::raw::{ARRAY, I8, Raw, STRING, U32};
use gguffuse::blocks::TensorType;
use gguffuse::gguf::{ArrayInput, File, OpenOptions, Value, ValueInput, ValueType, Writer};
use gguffuse::{Error, Result};

fn open(bytes: Vec<u8>) -> File {
    File::from_vec(bytes, &OpenOptions::default()).unwrap()
}

/// A value as text that tells types and bits apart.
pub fn text(value: Value<'_>) -> String {
    match value {
        Value::F32(value) => format!("f32 {:08x}", value.to_bits()),
        Value::F64(value) => format!("f64 {:016x}", value.to_bits()),
        Value::Array(array) => {
            let elements: Vec<String> = array.iter().map(text).collect();
            assert_eq!(elements.len() as u64, array.len());
            for (index, element) in elements.iter().enumerate() {
                assert_eq!(text(array.element(index as u64).unwrap()), *element);
            }
            format!("{} array {elements:?}", array.element_type().name())
        }
        other => format!("{} {other:?}", other.value_type().name()),
    }
}

/// Everything that a file says, as text.
pub fn describe(file: &File) -> String {
    let mut all = format!("{} {} {} {}\n", file.version(), file.alignment(), file.data_offset(), file.metadata_bytes());
    for index in 0..file.metadata_count() {
        let (key, value) = file.metadata(index).unwrap();
        all += &format!("{key:?} {}\n", text(value));
    }
    for tensor in file.tensors() {
        all += &format!("{tensor:?} {:?} {:?}\n", tensor.name_with_nul, tensor.data);
    }
    all
}

pub fn every_value() -> Vec<(ValueInput<'static>, &'static str)> {
    const DEEP: ArrayInput = ArrayInput::Array(&[
        ArrayInput::Array(&[ArrayInput::U8(&[1]), ArrayInput::String(&[b"x"])]),
        ArrayInput::Array(&[]),
    ]);
    use ArrayInput as A;
    use ValueInput as V;
    vec![
        (V::U8(255), "u8 U8(255)"),
        (V::I8(-128), "i8 I8(-128)"),
        (V::U16(65535), "u16 U16(65535)"),
        (V::I16(-2), "i16 I16(-2)"),
        (V::U32(0x0102_0304), "u32 U32(16909060)"),
        (V::I32(-3), "i32 I32(-3)"),
        (V::F32(-0.0), "f32 80000000"),
        (V::Bool(true), "bool Bool(true)"),
        (V::Bool(false), "bool Bool(false)"),
        (V::String(b"h\xffi\0"), r#"string String("h\xffi\x00")"#),
        (V::String(b""), r#"string String("")"#),
        (V::U64(u64::MAX), "u64 U64(18446744073709551615)"),
        (V::I64(i64::MIN), "i64 I64(-9223372036854775808)"),
        (V::F64(1.5), "f64 3ff8000000000000"),
        (V::Array(A::U8(&[1, 2])), r#"u8 array ["u8 U8(1)", "u8 U8(2)"]"#),
        (V::Array(A::I8(&[-1])), r#"i8 array ["i8 I8(-1)"]"#),
        (V::Array(A::U16(&[258])), r#"u16 array ["u16 U16(258)"]"#),
        (V::Array(A::I16(&[-258])), r#"i16 array ["i16 I16(-258)"]"#),
        (V::Array(A::U32(&[1 << 24])), r#"u32 array ["u32 U32(16777216)"]"#),
        (V::Array(A::I32(&[7, -7])), r#"i32 array ["i32 I32(7)", "i32 I32(-7)"]"#),
        (V::Array(A::F32(&[1.0])), r#"f32 array ["f32 3f800000"]"#),
        (V::Array(A::Bool(&[true, false])), r#"bool array ["bool Bool(true)", "bool Bool(false)"]"#),
        (V::Array(A::String(&[b"a", b""])), r#"string array ["string String(\"a\")", "string String(\"\")"]"#),
        (V::Array(A::U64(&[])), "u64 array []"),
        (V::Array(A::I64(&[-1])), r#"i64 array ["i64 I64(-1)"]"#),
        (V::Array(A::F64(&[0.0])), r#"f64 array ["f64 0000000000000000"]"#),
        (
            V::Array(DEEP),
            r#"array array ["array array [\"u8 array [\\\"u8 U8(1)\\\"]\", \"string array [\\\"string String(\\\\\\\"x\\\\\\\")\\\"]\"]", "array array []"]"#,
        ),
    ]
}

#[test]
fn round_trip_of_every_type_in_both_versions() {
    for version in [2, 3] {
        let mut writer = Writer::new();
        writer.version(version).unwrap();
        for (index, (value, _)) in every_value().into_iter().enumerate() {
            writer.metadata(&format!("key {index}"), value).unwrap();
        }
        let file = open(writer.to_vec().unwrap());
        assert_eq!(file.version(), version);
        assert_eq!(file.metadata_count(), every_value().len() as u64);
        for (index, (_, expected)) in every_value().into_iter().enumerate() {
            let (key, value) = file.metadata(index as u64).unwrap();
            assert_eq!((key, &*text(value)), (&*format!("key {index}"), expected));
            assert_eq!(file.find_metadata(key).unwrap(), index as u64);
            assert_eq!(text(file.get(key).unwrap()), expected);
        }
    }
}

#[test]
fn files_and_arrays_as_text_and_in_loops() {
    let mut writer = Writer::new();
    writer.metadata("flag", true).unwrap().metadata("numbers", &[3u16, 4][..]).unwrap();
    let file = open(writer.to_vec().unwrap());
    let size = file.size_bytes();
    let expected = format!("File {{ version: 3, size_bytes: {size}, metadata_count: 2, tensor_count: 0, .. }}");
    assert_eq!(format!("{file:?}"), expected);
    assert!(file.get("flag").unwrap().as_bool().unwrap());
    let array = file.get("numbers").unwrap().as_array().unwrap();
    assert_eq!(format!("{array:?}"), "[u16; 2]");
    let mut sum = 0;
    for value in array {
        sum += value.as_u64().unwrap();
    }
    assert_eq!(sum, 7);
}

#[test]
fn value_types_have_the_numbers_of_the_format() {
    for (id, value_type) in ValueType::ALL.into_iter().enumerate() {
        assert_eq!(value_type.id(), id as u32);
        assert_eq!(ValueType::from_id(id as u32), Some(value_type));
    }
    assert_eq!(ValueType::from_id(13), None);
}

#[test]
fn conversions_are_exact_or_fail() {
    fn ok<T: PartialEq>(result: Result<T>, expected: Option<T>) -> bool {
        match (result, expected) {
            (Ok(value), Some(expected)) => value == expected,
            (Err(Error::TypeMismatch(_)), None) => true,
            _ => false,
        }
    }
    let two_64 = 2f64.powi(64);
    type Case = (Value<'static>, Option<u64>, Option<i64>, Option<f64>);
    let cases: [Case; 23] = [
        (Value::U8(200), Some(200), Some(200), Some(200.0)),
        (Value::I8(-1), None, Some(-1), Some(-1.0)),
        (Value::U16(9), Some(9), Some(9), Some(9.0)),
        (Value::I16(-9), None, Some(-9), Some(-9.0)),
        (Value::U32(u32::MAX), Some(u32::MAX as u64), Some(u32::MAX as i64), Some(u32::MAX as f64)),
        (Value::I32(i32::MIN), None, Some(i32::MIN as i64), Some(i32::MIN as f64)),
        (Value::U64(u64::MAX), Some(u64::MAX), None, None),
        (Value::U64(1 << 63), Some(1 << 63), None, Some(2f64.powi(63))),
        (Value::U64((1 << 53) + 1), Some((1 << 53) + 1), Some((1 << 53) + 1), None),
        (Value::I64(i64::MAX), Some(i64::MAX as u64), Some(i64::MAX), None),
        (Value::I64(i64::MIN), None, Some(i64::MIN), Some(i64::MIN as f64)),
        (Value::F32(3.0), Some(3), Some(3), Some(3.0)),
        (Value::F32(0.1), None, None, Some(0.1f32 as f64)),
        (Value::F64(-0.0), Some(0), Some(0), Some(-0.0)),
        (Value::F64(-4.0), None, Some(-4), Some(-4.0)),
        (Value::F64(2.5), None, None, Some(2.5)),
        (Value::F64(two_64), None, None, Some(two_64)),
        (Value::F64(-two_64), None, None, Some(-two_64)),
        (Value::F64(2f64.powi(63)), Some(1 << 63), None, Some(2f64.powi(63))),
        (Value::F64(-(2f64.powi(63))), None, Some(i64::MIN), Some(-(2f64.powi(63)))),
        (Value::F64(f64::INFINITY), None, None, Some(f64::INFINITY)),
        (Value::F64(1e300), None, None, Some(1e300)),
        (Value::Bool(true), None, None, None),
    ];
    for (value, unsigned, signed, float) in cases {
        assert!(ok(value.as_u64(), unsigned), "{value:?} as u64 is {:?}", value.as_u64());
        assert!(ok(value.as_i64(), signed), "{value:?} as i64 is {:?}", value.as_i64());
        assert!(ok(value.as_f64(), float), "{value:?} as f64 is {:?}", value.as_f64());
        assert_eq!(value.as_bool().is_ok(), matches!(value, Value::Bool(_)));
        assert!(matches!(value.as_bytes(), Err(Error::TypeMismatch(_))));
        assert!(matches!(value.as_array(), Err(Error::TypeMismatch(_))));
    }
    assert!(Value::F64(f64::NAN).as_u64().is_err());
    assert!(Value::F64(f64::NAN).as_f64().unwrap().is_nan());
    assert!(Value::Bool(true).as_bool().unwrap());
}

#[test]
fn every_string_is_followed_by_a_nul() {
    fn check(value: Value<'_>, count: &mut usize) {
        match value {
            Value::String(string) => {
                *count += 1;
                let (nul, bytes) = string.as_bytes_with_nul().split_last().unwrap();
                assert_eq!((*nul, bytes), (0, string.as_bytes()));
            }
            Value::Array(array) => array.iter().for_each(|element| check(element, count)),
            _ => {}
        }
    }
    let nested = Raw::new(3, 2, 5)
        .key("last string of an array before an array", ARRAY)
        .array(ARRAY, 2)
        .array(STRING, 2)
        .string(b"a")
        .string(b"b")
        .array(STRING, 1)
        .string(b"c")
        .key("before a key", STRING)
        .string(b"d")
        .key("empty", STRING)
        .string(b"")
        .key("an array of arrays before an entry", ARRAY)
        .array(ARRAY, 1)
        .array(ARRAY, 1)
        .array(STRING, 1)
        .string(b"e")
        .key("before the tensors", STRING)
        .string(b"f")
        .tensor("one", &[1], I8, 0)
        .tensor("two", &[0xFFFF_FFFF, 0], I8, 0)
        .pad(32)
        .data(1);
    // The last string is the end of the metadata, and padding of other bytes follows in the file.
    let last = Raw::new(3, 0, 2).key("number", U32).u32(u32::MAX).key("last", STRING).string(b"end").bytes(&[0xFF; 40]);
    let mut count = 0;
    for raw in [nested, last] {
        let file = open(raw.0);
        for index in 0..file.metadata_count() {
            let (key, value) = file.metadata(index).unwrap();
            assert_eq!(file.metadata_key_with_nul(index).unwrap(), format!("{key}\0"));
            check(value, &mut count);
        }
        for tensor in file.tensors() {
            assert_eq!(tensor.name_with_nul, format!("{}\0", tensor.name));
        }
    }
    assert_eq!(count, 8);
}

#[test]
fn elements_of_long_arrays() {
    // Around the checkpoints at every 64th element; the elements differ in size.
    for length in [0usize, 1, 63, 64, 65, 127, 128, 129, 1000] {
        let strings: Vec<Vec<u8>> = (0..length).map(|index| vec![b'a' + (index % 26) as u8; index % 7]).collect();
        let slices: Vec<&[u8]> = strings.iter().map(|string| &string[..]).collect();
        let arrays: Vec<ArrayInput<'_>> = (0..length).map(|index| ArrayInput::String(&slices[..index % 5])).collect();
        let mut writer = Writer::new();
        writer.metadata("first", ArrayInput::String(&slices)).unwrap();
        writer.metadata("between", ArrayInput::I32(&[1, 2])).unwrap();
        writer.metadata("arrays", ArrayInput::Array(&arrays)).unwrap();
        writer.metadata("second", ArrayInput::String(&slices)).unwrap();
        let file = open(writer.to_vec().unwrap());
        for key in ["first", "second"] {
            let array = file.get(key).unwrap().as_array().unwrap();
            assert_eq!((array.len(), array.data()), (length as u64, None));
            for (index, string) in strings.iter().enumerate() {
                assert_eq!(array.element(index as u64).unwrap().as_bytes().unwrap(), string);
            }
            assert!(array.iter().map(|element| element.as_bytes().unwrap()).eq(slices.iter().copied()));
            assert!(matches!(array.element(length as u64), Err(Error::NotFound(_))));
            assert!(matches!(array.element(u64::MAX), Err(Error::NotFound(_))));
        }
        let array = file.get("arrays").unwrap().as_array().unwrap();
        for index in 0..length {
            let inner = array.element(index as u64).unwrap().as_array().unwrap();
            assert!(inner.iter().map(|element| element.as_bytes().unwrap()).eq(slices[..index % 5].iter().copied()));
        }
    }
}

#[test]
fn data_of_arrays_is_little_endian() {
    let mut writer = Writer::new();
    writer.metadata("k", ArrayInput::U16(&[0x0102, 0x0304])).unwrap();
    let file = open(writer.to_vec().unwrap());
    assert_eq!(file.get("k").unwrap().as_array().unwrap().data(), Some(&[2, 1, 4, 3][..]));
}

#[test]
fn look_ups() {
    let mut names: Vec<String> = (0..500).map(|index| format!("blk.{}.w", index * 7919 % 500)).collect();
    // The same for longer than any prefix that is compared first, and shorter than it.
    names.extend((0..200).map(|index| format!("blk.0123456789abcdef.{}", index * 7919 % 200)));
    names.extend(["blk.", "blk.1", "blk.12", "blk.12345678", "blk.1234567", "blk.123456789"].map(String::from));
    let mut writer = Writer::new();
    for (index, name) in names.iter().enumerate() {
        writer.metadata(name, index as u64).unwrap();
        writer.tensor(name, TensorType::I8, &[1], &[1]).unwrap();
    }
    let file = open(writer.to_vec().unwrap());
    for (index, name) in names.iter().enumerate() {
        assert_eq!(file.find_tensor(name).unwrap(), index as u64);
        assert_eq!(file.tensor(index as u64).unwrap().name, name);
        assert_eq!(file.get(name).unwrap().as_u64().unwrap(), index as u64);
    }
    for missing in ["", "blk", "blk.500.w", "blk.0.w\0", "blk.0123456789abcdef.", "zzz"] {
        assert!(matches!(file.find_tensor(missing), Err(Error::NotFound(_))));
        assert!(matches!(file.find_metadata(missing), Err(Error::NotFound(_))));
        assert!(matches!(file.get(missing), Err(Error::NotFound(_))));
    }
    for index in [names.len() as u64, u64::MAX] {
        assert!(matches!(file.tensor(index), Err(Error::NotFound(_))));
        assert!(matches!(file.metadata(index), Err(Error::NotFound(_))));
        assert!(matches!(file.metadata_key_with_nul(index), Err(Error::NotFound(_))));
    }
}

#[test]
fn tensors_lie_at_data_offset_plus_relative_offset() {
    let contents: Vec<Vec<u8>> = (1..20u8).map(|index| vec![index; index as usize * 4]).collect();
    for alignment in [1u32, 8, 32, 4096] {
        let mut writer = Writer::new();
        writer.metadata("general.alignment", alignment).unwrap();
        for (index, data) in contents.iter().enumerate() {
            writer.tensor(&format!("t{index}"), TensorType::F32, &[data.len() as u64 / 4], data).unwrap();
        }
        let bytes = writer.to_vec().unwrap();
        let file = open(bytes.clone());
        assert_eq!(file.alignment(), alignment);
        assert_eq!(file.data_offset() % u64::from(alignment), 0);
        assert_eq!(file.tensors().count(), contents.len());
        for (tensor, data) in file.tensors().zip(&contents) {
            assert_eq!(tensor.absolute_offset, file.data_offset() + tensor.relative_offset);
            assert_eq!(tensor.size_bytes, data.len() as u64);
            assert_eq!(tensor.data, data);
            let start = tensor.absolute_offset as usize;
            assert_eq!(&bytes[start..start + data.len()], data);
        }
    }
}

#[test]
fn the_writer_refuses_what_the_reader_refuses() {
    let mut writer = Writer::new();
    assert!(matches!(writer.version(1), Err(Error::UnsupportedVersion(_))));
    for key in ["", "a\0b", &"k".repeat(65536)] {
        assert!(matches!(writer.metadata(key, 1u8), Err(Error::InvalidArgument(_))));
    }
    for alignment in [ValueInput::U32(0), ValueInput::U32(24), ValueInput::U64(32)] {
        assert!(matches!(writer.metadata("general.alignment", alignment), Err(Error::InvalidArgument(_))));
    }
    let four = [ArrayInput::Array(&[ArrayInput::Array(&[ArrayInput::Array(&[ArrayInput::U8(&[])])])])];
    assert!(matches!(writer.metadata("deep", ArrayInput::Array(&four)), Err(Error::InvalidArgument(_))));
    for name in ["a\0b", &"n".repeat(65)] {
        assert!(matches!(writer.tensor(name, TensorType::I8, &[1], &[1]), Err(Error::InvalidArgument(_))));
    }
    assert!(matches!(writer.tensor("t", TensorType::I8, &[1; 5], &[1]), Err(Error::InvalidArgument(_))));
    assert!(matches!(writer.tensor("t", TensorType::I8, &[2], &[1]), Err(Error::Shape(_))));
    assert!(matches!(writer.tensor("t", TensorType::Q4_K, &[255], &[0; 144]), Err(Error::Shape(_))));
    assert!(matches!(writer.tensor("t", TensorType::F32, &[1 << 62, 4], &[]), Err(Error::Shape(_))));
    // None of these left anything behind.
    assert_eq!(describe(&open(writer.to_vec().unwrap())), "3 32 32 24\n");
}

#[test]
fn a_file_may_be_used_from_any_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<File>();
    shared::<Value<'_>>();
}
