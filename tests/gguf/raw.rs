//! Makes GGUF files byte by byte, valid or not. Shared by the tests of the format.
#![allow(dead_code)] // each test binary uses its part

pub const U8: u32 = 0;
pub const U32: u32 = 4;
pub const I32: u32 = 5;
pub const BOOL: u32 = 7;
pub const STRING: u32 = 8;
pub const ARRAY: u32 = 9;

pub const F32: u32 = 0;
pub const Q4_K: u32 = 12;
pub const I8: u32 = 24;

#[derive(Clone, Default)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    /// Magic, version and counts.
    pub fn new(version: u32, tensors: u64, entries: u64) -> Raw {
        Raw::default().bytes(b"GGUF").u32(version).u64(tensors).u64(entries)
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Raw {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn u32(self, value: u32) -> Raw {
        self.bytes(&value.to_le_bytes())
    }

    pub fn u64(self, value: u64) -> Raw {
        self.bytes(&value.to_le_bytes())
    }

    pub fn string(self, string: &[u8]) -> Raw {
        self.u64(string.len() as u64).bytes(string)
    }

    /// Key and value type; the value is to follow.
    pub fn key(self, key: &str, value_type: u32) -> Raw {
        self.string(key.as_bytes()).u32(value_type)
    }

    /// Element type and length of an array.
    pub fn array(self, element_type: u32, length: u64) -> Raw {
        self.u32(element_type).u64(length)
    }

    pub fn alignment(self, alignment: u32) -> Raw {
        self.key("general.alignment", U32).u32(alignment)
    }

    /// A tensor's directory record.
    pub fn tensor(self, name: &str, dims: &[u64], tensor_type: u32, offset: u64) -> Raw {
        let mut raw = self.string(name.as_bytes()).u32(dims.len() as u32);
        for dim in dims {
            raw = raw.u64(*dim);
        }
        raw.u32(tensor_type).u64(offset)
    }

    /// Zeros up to a multiple of `alignment`.
    pub fn pad(mut self, alignment: usize) -> Raw {
        self.0.resize(self.0.len().next_multiple_of(alignment), 0);
        self
    }

    /// Any change.
    pub fn tap(mut self, change: impl FnOnce(&mut Raw)) -> Raw {
        change(&mut self);
        self
    }

    /// `count` bytes of data: 0, 1, 2, ...
    pub fn data(mut self, count: usize) -> Raw {
        self.0.extend((0..count).map(|byte| byte as u8));
        self
    }
}
