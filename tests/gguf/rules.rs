//! Each rule of the format as a case with its exact answer.

use crate::raw::{ARRAY, BOOL, F32, I8, I32, Q4_K, Raw, STRING, U8, U32};
use gguffuse::Error;
use gguffuse::gguf::{File, OpenOptions};

fn open(raw: Raw) -> gguffuse::Result<File> {
    File::from_vec(raw.0, &OpenOptions::default())
}

/// `rejects!(name, Variant [at offset], "part of the message", raw)`
macro_rules! rejects {
    ($name:ident, $variant:ident at $offset:expr, $part:expr, $raw:expr) => {
        #[test]
        fn $name() {
            let error = open($raw).unwrap_err();
            let text = error.to_string();
            let Error::$variant { offset, .. } = error else { panic!("{error:?}") };
            assert!(text.contains($part), "{text}");
            assert_eq!(offset, $offset, "{text}");
        }
    };
    ($name:ident, $variant:ident, $part:expr, $raw:expr) => {
        #[test]
        fn $name() {
            let error = open($raw).unwrap_err();
            assert!(matches!(error, Error::$variant(_)), "{error:?}");
            assert!(error.to_string().contains($part), "{error}");
        }
    };
}

macro_rules! accepts {
    ($name:ident, $raw:expr, |$file:ident| $check:expr) => {
        #[test]
        fn $name() {
            let $file = open($raw).unwrap();
            $check;
        }
    };
}

fn entry(key: &str, value_type: u32) -> Raw {
    Raw::new(3, 0, 1).key(key, value_type)
}

/// A file of one tensor with `data` bytes of data.
fn one(dims: &[u64], tensor_type: u32, offset: u64, data: usize) -> Raw {
    Raw::new(3, 1, 0).tensor("t", dims, tensor_type, offset).pad(32).data(data)
}

// Header.
rejects!(magic, BadFormat at 0, "GGUF", Raw::default().bytes(b"GGUX").bytes(&[0; 20]));
rejects!(magic_reversed, BadFormat at 0, "wrong way round", Raw::default().bytes(b"FUGG").bytes(&[0; 20]));
rejects!(git_lfs_pointer, BadFormat at 0, "git-LFS",
    Raw::default().bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"));
rejects!(html_page, BadFormat at 0, "HTML", Raw::default().bytes(b"<!DOCTYPE html><html></html>"));
rejects!(empty_file, Truncated at 0, "magic", Raw::default());
rejects!(only_magic, Truncated at 4, "version", Raw::default().bytes(b"GGUF"));
rejects!(version_0, UnsupportedVersion, "0 does not exist", Raw::new(0, 0, 0));
rejects!(version_1, UnsupportedVersion, "version: 1;", Raw::new(1, 0, 0));
rejects!(version_4, UnsupportedVersion, "4 is newer", Raw::new(4, 0, 0));
rejects!(version_65536_and_4, UnsupportedVersion, "65540 is newer", Raw::new(65540, 0, 0));
rejects!(big_endian, UnsupportedVersion, "big-endian (version 3)", Raw::new(3u32.swap_bytes(), 0, 0));
rejects!(tensor_count_2_64, Truncated at 24, "number of tensors", Raw::new(3, u64::MAX, 0).data(1000));
rejects!(tensor_count_wraps, Truncated at 24, "number of tensors", Raw::new(3, 1 << 61, 0).data(1000));
rejects!(tensor_count_one_too_many, Truncated at 24, "number of tensors", Raw::new(3, 2, 0).data(47));
rejects!(entry_count_2_64, Truncated at 24, "number of metadata entries", Raw::new(3, 0, u64::MAX).data(1000));
rejects!(entry_count_one_too_many, Truncated at 24, "number of metadata entries", Raw::new(3, 0, 2).data(25));
accepts!(header_only, Raw::new(3, 0, 0), |file| assert_eq!((file.metadata_bytes(), file.data_offset()), (24, 32)));
accepts!(header_padded, Raw::new(3, 0, 0).pad(32), |file| assert_eq!(file.size_bytes(), 32));
accepts!(version_2, Raw::new(2, 0, 0), |file| assert_eq!(file.version(), 2));

// Keys.
rejects!(key_length_2_64, Truncated at 32, "the key needs", Raw::new(3, 0, 1).u64(u64::MAX).data(50));
rejects!(key_length_one_too_many, Truncated at 32, "the key needs 51 bytes", Raw::new(3, 0, 1).u64(51).data(50));
rejects!(key_empty, BadFormat at 24, "empty", entry("", U8).data(1));
rejects!(key_65536, Limit at 24, "65536", entry(&"k".repeat(65536), U8).data(1));
accepts!(key_65535, entry(&"k".repeat(65535), U8).data(1), |file| {
    assert_eq!(file.get(&"k".repeat(65535)).unwrap().as_u64().unwrap(), 0)
});
rejects!(key_with_nul, BadFormat at 33, "NUL", entry("a\0b", U8).data(1));
rejects!(key_not_utf8, BadFormat at 33, "UTF-8", Raw::new(3, 0, 1).string(b"a\xffb").u32(U8).data(1));
rejects!(key_twice, BadFormat at 40, "same key",
    Raw::new(3, 0, 3).key("abc", U8).data(1).key("abc", U8).data(1).key("z", U8).data(1));
rejects!(key_is_escaped_in_messages, BadFormat at 34, r#"entry 0 "a\n""#, entry("a\n", 13).data(8));

// Values.
rejects!(value_type_13, BadFormat at 33, "value type is 13", entry("k", 13).data(8));
rejects!(value_type_minus_1, BadFormat at 33, "value type is 4294967295", entry("k", u32::MAX).data(8));
rejects!(value_cut, Truncated at 37, "the value needs 4 bytes, 3 are left", entry("k", U32).data(3));
rejects!(bool_2, BadFormat at 37, "bool is 2", entry("k", BOOL).bytes(&[2]));
rejects!(bool_7_in_array, BadFormat at 51, "bool is 7", entry("k", ARRAY).array(BOOL, 4).bytes(&[1, 0, 7, 0]));
rejects!(string_2_64, Truncated at 45, "18446744073709551615", entry("k", STRING).u64(u64::MAX).data(50));
rejects!(string_2_63, Truncated at 45, "9223372036854775808", entry("k", STRING).u64(1 << 63).data(50));
rejects!(string_one_too_many, Truncated at 45, "needs 51 bytes, 50", entry("k", STRING).u64(51).data(50));
accepts!(string_not_utf8_with_nul, entry("k", STRING).string(b"\xff\0a"), |file| {
    let value = file.get("k").unwrap();
    assert_eq!(value.as_bytes().unwrap(), b"\xff\0a");
    assert!(matches!(value.as_string().unwrap().to_str(), Err(Error::TypeMismatch(_))))
});
rejects!(array_of_strings_2_61, Truncated at 49, "array elements", entry("k", ARRAY).array(STRING, 1 << 61).data(50));
rejects!(array_of_strings_one_too_many, Truncated at 49, "array elements", entry("k", ARRAY).array(STRING, 2).data(15));
rejects!(array_of_u8_2_64, Truncated at 49, "array elements", entry("k", ARRAY).array(U8, u64::MAX).data(50));
rejects!(array_of_u32_one_too_many, Truncated at 49, "array elements", entry("k", ARRAY).array(U32, 3).data(11));
rejects!(array_of_arrays_one_too_many, Truncated at 49, "array elements", entry("k", ARRAY).array(ARRAY, 2).data(23));
rejects!(array_element_type_13, BadFormat at 37, "element type is 13", entry("k", ARRAY).array(13, 0));
rejects!(arrays_5_deep, Limit at 85, "more than 4 deep", (0..4)
    .fold(entry("k", ARRAY), |raw, _| raw.array(ARRAY, 1)).array(U8, 1).data(1));
accepts!(
    arrays_4_deep,
    (0..3).fold(entry("k", ARRAY), |raw, _| raw.array(ARRAY, 1)).array(U8, 1).bytes(&[9]),
    |file| {
        let mut value = file.get("k").unwrap();
        for _ in 0..4 {
            value = value.as_array().unwrap().element(0).unwrap();
        }
        assert_eq!(value.as_u64().unwrap(), 9)
    }
);
rejects!(arrays_65536_deep, Limit at 85, "more than 4 deep", (0..65536)
    .fold(entry("k", ARRAY), |raw, _| raw.array(ARRAY, 1)));
accepts!(array_of_no_strings, entry("k", ARRAY).array(STRING, 0), |file| {
    assert!(file.get("k").unwrap().as_array().unwrap().is_empty())
});

// Alignment.
rejects!(alignment_0, BadFormat at 53, "power of two", Raw::new(3, 0, 1).alignment(0));
rejects!(alignment_13, BadFormat at 53, "13 is not a power of two", Raw::new(3, 0, 1).alignment(13));
rejects!(alignment_i32, TypeMismatch, "but is i32", entry("general.alignment", I32).u32(32));
rejects!(alignment_array, TypeMismatch, "but is array", entry("general.alignment", ARRAY).array(U32, 1).u32(32));
rejects!(alignment_2_31_and_data, Truncated at 82, "which has 0",
    Raw::new(3, 1, 1).alignment(1 << 31).tensor("t", &[1], I8, 0).pad(32).data(1));
accepts!(
    alignment_1,
    Raw::new(3, 2, 1).alignment(1).tensor("a", &[3], I8, 0).tensor("b", &[2], I8, 3).data(5),
    |file| {
        assert_eq!(file.alignment(), 1);
        assert_eq!(file.tensor(1).unwrap().data, [3, 4])
    }
);

// Tensor records. The record of `one` begins at byte 24, its name at 32, dimensions at 37.
rejects!(name_65, Limit at 24, "65 bytes", Raw::new(3, 1, 0).tensor(&"n".repeat(65), &[], F32, 0).pad(32).data(4));
accepts!(name_64, Raw::new(3, 1, 0).tensor(&"n".repeat(64), &[], F32, 0).pad(32).data(4), |file| {
    assert_eq!(file.find_tensor(&"n".repeat(64)).unwrap(), 0)
});
accepts!(name_empty, Raw::new(3, 1, 0).tensor("", &[], F32, 0).pad(32).data(4), |file| {
    assert_eq!(file.find_tensor("").unwrap(), 0)
});
rejects!(name_2_64, Truncated at 32, "the name needs", Raw::new(3, 1, 0).u64(u64::MAX).data(50));
rejects!(name_with_nul, BadFormat at 33, "NUL", Raw::new(3, 1, 0).tensor("a\0x", &[], F32, 0).pad(32).data(4));
rejects!(name_not_utf8, BadFormat at 32, "UTF-8",
    Raw::new(3, 1, 0).string(b"\xc3").u32(0).u32(F32).u64(0).pad(32).data(4));
rejects!(name_twice, BadFormat at 49, "same name", Raw::new(3, 2, 0)
    .tensor("t", &[], F32, 0).tensor("t", &[], F32, 32).pad(32).data(64));
rejects!(dimensions_5, Limit at 33, "5 dimensions", one(&[1; 5], F32, 0, 4));
rejects!(dimensions_255, Limit at 33, "255 dimensions", Raw::new(3, 1, 0).string(b"t").u32(255).data(64));
rejects!(dimensions_2_32, Limit at 33, "4294967295 dimensions", Raw::new(3, 1, 0).string(b"t").u32(u32::MAX).data(64));
accepts!(dimensions_0, one(&[], F32, 0, 4), |file| {
    let tensor = file.tensor(0).unwrap();
    assert_eq!((tensor.n_dims, tensor.dims, tensor.data), (0, [1; 4], &[0, 1, 2, 3][..]))
});
rejects!(record_cut, Truncated at 49, "the offset needs 8 bytes, 7", Raw::new(3, 1, 0)
    .string(b"t").u32(1).u64(1).u32(F32).data(7));
rejects!(type_4, UnsupportedType, "tensor 0 \"t\", byte 45: ggml type 4 was removed", one(&[1], 4, 0, 99));
rejects!(type_31, UnsupportedType, "type 31 was removed", one(&[1], 31, 0, 99));
rejects!(type_38, UnsupportedType, "type 38 was removed", one(&[1], 38, 0, 99));
rejects!(type_43, UnsupportedType, "type 43 is unknown", one(&[1], 43, 0, 99));
rejects!(type_minus_1, UnsupportedType, "type 4294967295 is unknown", one(&[1], u32::MAX, 0, 99));

// Extents.
rejects!(rows_not_whole_blocks, BadFormat at 37, "255 elements, not a multiple of the 256", one(&[255], Q4_K, 0, 999));
rejects!(no_dimensions_of_blocks, BadFormat at 37, "1 elements", one(&[], Q4_K, 0, 999));
rejects!(offset_not_aligned, BadFormat at 49, "offset 16 is not a multiple of the alignment 32", one(&[1], F32, 16, 99));
rejects!(offset_2_64, Truncated at 49, "byte 18446744073709551584", one(&[1], F32, u64::MAX - 31, 99));
rejects!(data_one_byte_short, Truncated at 49, "8 bytes at byte 0 of the data section, which has 7", one(&[2], F32, 0, 7));
accepts!(data_exact, one(&[2], F32, 0, 8), |file| assert_eq!(file.tensor(0).unwrap().data, [0, 1, 2, 3, 4, 5, 6, 7]));
rejects!(data_missing, Truncated at 49, "which has 0", one(&[1], I8, 0, 0).tap(|raw| raw.0.truncate(57)));
rejects!(size_product_wraps, Truncated at 37, "2^64", one(&[4, (1 << 42) + 1, 1 << 20], F32, 0, 64));
rejects!(size_near_2_63_twice, Truncated at 49, "9223372036854775744 bytes", Raw::new(3, 2, 0)
    .tensor("t", &[0x7FFF_FFFF_FFFF_FFC0], I8, 0).tensor("u", &[0x7FFF_FFFF_FFFF_FFC0], I8, 0x7FFF_FFFF_FFFF_FFC0).pad(32).data(32));
rejects!(size_all_ones, Truncated at 37, "2^64", one(&[u64::MAX; 4], F32, 0, 64));
rejects!(size_padding_wraps, Truncated at 65, "bytes at byte 0", one(&[4, (1 << 30) - 1, (1 << 30) + 1], F32, 0, 64));
rejects!(overlap, BadFormat at 74, "before tensor 0 \"t\" ends at byte 36",
    Raw::new(3, 2, 0).tensor("t", &[9], F32, 0).tensor("u", &[], F32, 32).pad(32).data(99));
rejects!(same_extent, BadFormat at 49, "before tensor 1 \"u\" ends",
    Raw::new(3, 2, 0).tensor("t", &[8], F32, 32).tensor("u", &[17], F32, 0).pad(32).data(99));
accepts!(
    gap_and_order,
    Raw::new(3, 2, 0).tensor("t", &[4], I8, 96).tensor("u", &[4], I8, 32).pad(32).data(100),
    |file| {
        assert_eq!(file.tensor(0).unwrap().data, [96, 97, 98, 99]);
        assert_eq!(file.tensor(1).unwrap().data, [32, 33, 34, 35])
    }
);
accepts!(zero_dimension_with_huge_ones, one(&[0, 1 << 62, 1 << 62, 1 << 62], F32, 0, 0), |file| {
    let tensor = file.tensor(0).unwrap();
    assert_eq!((tensor.size_bytes, tensor.data), (0, &[][..]))
});
accepts!(
    zero_bytes_within_another,
    Raw::new(3, 2, 0).tensor("t", &[64], I8, 0).tensor("z", &[0], I8, 32).pad(32).data(64),
    |file| { assert_eq!(file.tensor(1).unwrap().size_bytes, 0) }
);
rejects!(zero_bytes_past_the_end, Truncated at 49, "0 bytes at byte 64", one(&[0], I8, 64, 32));
accepts!(zero_bytes_and_no_padding, one(&[0], I8, 0, 0).tap(|raw| raw.0.truncate(57)), |file| {
    assert_eq!((file.data_offset(), file.tensor(0).unwrap().absolute_offset), (64, 64))
});
accepts!(trailing_junk, one(&[1], F32, 0, 4).bytes(b"junk junk junk"), |file| assert_eq!(file.tensor_count(), 1));

#[test]
fn metadata_limit() {
    let raw = entry("k", STRING).string(&[b'x'; 1000]);
    let end = raw.0.len() as u64;
    let open = |max_metadata_bytes| {
        File::from_vec(raw.0.clone(), &OpenOptions { max_metadata_bytes, ..OpenOptions::default() })
    };
    assert_eq!(open(end).unwrap().metadata_bytes(), end);
    let error = open(end - 1).unwrap_err();
    assert!(matches!(error, Error::Limit { offset: 45, .. }), "{error:?}");
    assert!(matches!(open(0), Err(Error::Limit { offset: 0, .. })));
}

#[test]
fn counts_beyond_the_metadata_limit() {
    let options = OpenOptions { max_metadata_bytes: 1000, ..OpenOptions::default() };
    for (offset, raw) in [
        (24, Raw::new(3, 41, 0)),
        (24, Raw::new(3, 0, 76)),
        (49, entry("k", ARRAY).array(STRING, 119)),
        (49, entry("k", ARRAY).array(U32, 238)),
    ] {
        let error = File::from_vec(raw.data(2000).0, &options).unwrap_err();
        let Error::Limit { offset: at, .. } = error else { panic!("{error:?}") };
        assert_eq!(at, offset, "{error}");
    }
}

#[test]
fn every_live_type_is_accepted() {
    for tensor_type in gguffuse::blocks::TensorType::ALL {
        let (elements, bytes) = (tensor_type.block_elements(), tensor_type.block_bytes());
        let file = open(one(&[elements as u64], tensor_type.id(), 0, bytes)).unwrap();
        assert_eq!(file.tensor(0).unwrap().size_bytes, bytes as u64);
        let error = open(one(&[elements as u64], tensor_type.id(), 0, bytes - 1)).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{error:?}");
    }
}
