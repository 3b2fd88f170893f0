//! Valid files of different build, each of some hundred to some thousand bytes: what is cut and changed in every place.

use crate::raw::{ARRAY, BOOL, F32, I8, I32, Q4_K, Raw, STRING, U8, U32};

/// Bytes of a value of each type, by GGUF's number; 0 for strings and arrays.
const SIZES: [usize; 13] = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
const TYPE_I32: u32 = 26;

/// The files, all of them accepted.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        scalars(3, 1),
        scalars(2, 7),
        strings(70),
        strings(200),
        nested(),
        deep_and_wide(),
        tensors(),
        many_tensors(24),
        quantised(),
        alignment(1),
        alignment(4096),
        long_names(),
        chat_model(),
        zero_sized(),
        out_of_order(),
        bools(),
        Raw::new(3, 0, 0).pad(32),
        Raw::new(3, 0, 1).key("text", STRING).string(&[b'x'; 900]),
    ];
    // Arrays of each type of fixed size.
    for id in (0..13).filter(|id| SIZES[*id as usize] != 0) {
        let count = 400 / SIZES[id as usize];
        let raw = Raw::new(3, 1, 2).key("array", ARRAY).array(id, count as u64);
        let raw = raw.bytes(&vec![1; count * SIZES[id as usize]]).key("after", U32).u32(5);
        seeds.push(raw.tensor("t", &[4], F32, 0).pad(32).data(16));
    }
    seeds.into_iter().map(|raw| raw.0).collect()
}

/// Several of each scalar type.
fn scalars(version: u32, each: usize) -> Raw {
    let raw = Raw::new(version, 0, 11 * each as u64);
    (0..each).fold(raw, |raw, turn| {
        (0..13u32)
            .filter(|id| ![STRING, ARRAY].contains(id))
            .fold(raw, |raw, id| raw.key(&format!("key.{turn}.{id}"), id).bytes(&vec![1; SIZES[id as usize]]))
    })
}

fn strings(count: u64) -> Raw {
    let raw = Raw::new(3, 0, 2).key("s", STRING).string(b"text").key("a", ARRAY).array(STRING, count);
    (0..count).fold(raw, |raw, index| raw.string(&vec![b'x'; index as usize % 3]))
}

fn nested() -> Raw {
    Raw::new(2, 1, 2)
        .key("n", ARRAY)
        .array(ARRAY, 2)
        .array(ARRAY, 1)
        .array(ARRAY, 1)
        .array(BOOL, 2)
        .bytes(&[0, 1])
        .array(STRING, 1)
        .string(b"s")
        .alignment(8)
        .tensor("t", &[2, 3], F32, 0)
        .pad(8)
        .data(24)
}

/// Arrays of arrays, more than the distance of the checkpoints.
fn deep_and_wide() -> Raw {
    (0..70).fold(Raw::new(3, 0, 1).key("n", ARRAY).array(ARRAY, 70), |raw, index| match index % 3 {
        0 => raw.array(U8, 2).bytes(&[1, 2]),
        1 => raw.array(STRING, 1).string(b"s"),
        _ => raw.array(ARRAY, 1).array(U32, 0),
    })
}

fn tensors() -> Raw {
    Raw::new(3, 4, 1)
        .key("k", ARRAY)
        .array(U8, 3)
        .bytes(&[1, 2, 3])
        .tensor("late", &[4, 2, 2, 1], I8, 64)
        .tensor("early", &[3], F32, 0)
        .tensor("zero", &[5, 0], TYPE_I32, 32)
        .tensor("", &[], F32, 32)
        .pad(32)
        .data(80)
}

fn many_tensors(count: u64) -> Raw {
    let raw = (0..count).fold(Raw::new(3, count, 0), |raw, index| {
        raw.tensor(&format!("blk.{index}.ffn_up.weight"), &[8, 4], I8, index * 32)
    });
    raw.pad(32).data(count as usize * 32)
}

fn quantised() -> Raw {
    let raw = Raw::new(3, 3, 0).tensor("w", &[256, 2], Q4_K, 0).tensor("q8", &[32, 3], 8, 288);
    raw.tensor("one", &[32], 2, 416).pad(32).data(434)
}

fn alignment(alignment: u32) -> Raw {
    let raw = Raw::new(3, 2, 2).alignment(alignment).key("k", I32).u32(7);
    let raw = raw.tensor("a", &[9], I8, 0).tensor("b", &[2], F32, 9u64.next_multiple_of(alignment.into()));
    let data = 9usize.next_multiple_of(alignment as usize) + 8;
    raw.pad(alignment as usize).data(data)
}

fn long_names() -> Raw {
    let key = |index: usize| format!("{}{index}", "a long key ".repeat(12));
    let raw = (0..4).fold(Raw::new(3, 2, 4), |raw, index| raw.key(&key(index), U8).bytes(&[0]));
    raw.tensor(&"n".repeat(64), &[1], I8, 0).tensor(&"m".repeat(64), &[1], I8, 32).pad(32).data(33)
}

/// What a small language model has.
fn chat_model() -> Raw {
    let raw = Raw::new(3, 2, 7)
        .key("general.architecture", STRING)
        .string(b"llama")
        .alignment(32)
        .key("llama.block_count", U32)
        .u32(22)
        .key("llama.rope.freq_base", 6)
        .bytes(&10_000f32.to_le_bytes())
        .key("tokenizer.ggml.add_bos_token", BOOL)
        .bytes(&[1])
        .key("tokenizer.ggml.tokens", ARRAY)
        .array(STRING, 80);
    let raw = (0..80).fold(raw, |raw, index| raw.string(format!("<{index}>").as_bytes()));
    let raw = raw.key("tokenizer.ggml.scores", ARRAY).array(6, 80).bytes(&[0; 320]);
    raw.tensor("token_embd.weight", &[32, 4], 8, 0).tensor("output_norm.weight", &[32], F32, 160).pad(32).data(288)
}

fn zero_sized() -> Raw {
    let raw = (0..10).fold(Raw::new(3, 10, 0), |raw, index| raw.tensor(&format!("z{index}"), &[0, index], F32, 0));
    raw.pad(32)
}

fn out_of_order() -> Raw {
    let raw =
        (0..8).fold(Raw::new(3, 8, 0), |raw, index| raw.tensor(&format!("t{index}"), &[16], I8, (7 - index) * 64));
    raw.pad(32).data(7 * 64 + 16)
}

fn bools() -> Raw {
    let raw = Raw::new(3, 0, 2).key("flags", ARRAY).array(BOOL, 300);
    let raw = (0..300).fold(raw, |raw, index| raw.bytes(&[index as u8 & 1]));
    raw.key("flag", BOOL).bytes(&[0])
}
