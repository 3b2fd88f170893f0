//! The corpus: malformed and odd files, each with the status that every interface must give for it. Built by code, so
//! that each says what is special about it. Shared with the fuzz targets, whose seeds they are.
//!
//! `vulnerabilities` has what broke other readers, `llama_cpp` the cases of llama.cpp's own test of its reader, `readers`
//! the rules where readers in the wild disagree, `odd` everything else.

mod llama_cpp;
mod odd;
mod readers;
mod vulnerabilities;

use crate::raw::{I8, Raw, U8};

/// One file.
pub struct Case {
    /// Unique; also the name of the file.
    pub name: String,
    /// The status of opening it, as gguffuse_status_name has it.
    pub status: &'static str,
    pub bytes: Vec<u8>,
    /// Size of the file, where it is more than the bytes: the rest are zeros that take no space.
    pub size: u64,
    /// Something to ask of the open file.
    pub query: Option<Query>,
}

/// A question to an open file.
pub struct Query {
    /// `u64`, `i64`, `f64`, `bool` or `string` of the metadata entry `key`; `element I`: element I of that array as u64;
    /// `tensor`: the absolute offset of the tensor `key`.
    pub what: String,
    pub key: &'static str,
    /// The status of the answer.
    pub status: &'static str,
    /// The answer, where it is a number; 0 where there is none.
    pub answer: u64,
}

impl Case {
    fn new(name: &str, status: &'static str, raw: Raw) -> Case {
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{name}");
        let size = raw.0.len() as u64;
        Case { name: name.into(), status, bytes: raw.0, size, query: None }
    }

    /// With zeros up to `size`.
    fn sparse(mut self, size: u64) -> Case {
        self.size = size;
        self
    }

    /// With a question that is refused.
    fn refuses(mut self, what: &str, key: &'static str, status: &'static str) -> Case {
        self.query = Some(Query { what: what.into(), key, status, answer: 0 });
        self
    }

    /// With a question that has an answer.
    fn answers(mut self, what: &str, key: &'static str, answer: u64) -> Case {
        self.query = Some(Query { what: what.into(), key, status: "OK", answer });
        self
    }
}

/// All files, with unique names.
pub fn all() -> Vec<Case> {
    let mut cases = vulnerabilities::cases();
    cases.extend(llama_cpp::cases());
    cases.extend(readers::cases());
    cases.extend(odd::cases());
    let mut names: Vec<&str> = cases.iter().map(|case| &*case.name).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert!(twice.is_none(), "two files of one name: {twice:?}");
    cases
}

/// A file of one metadata entry, whose value is to follow.
fn entry(key: &str, value_type: u32) -> Raw {
    Raw::new(3, 0, 1).key(key, value_type)
}

/// A file of one tensor with `data` bytes of data.
fn one(dims: &[u64], tensor_type: u32, offset: u64, data: usize) -> Raw {
    Raw::new(3, 1, 0).tensor("t", dims, tensor_type, offset).pad(32).data(data)
}

/// A small valid file: two entries, two tensors of 32 bytes.
fn valid() -> Raw {
    Raw::new(3, 2, 2)
        .key("a", U8)
        .bytes(&[1])
        .key("b", U8)
        .bytes(&[2])
        .tensor("t", &[32], I8, 0)
        .tensor("u", &[8, 4], I8, 32)
        .pad(32)
        .data(64)
}
