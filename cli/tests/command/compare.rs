//! `gguffuse diff`.

use crate::files::{Folder, Made, blocks, file, float_model, made, weights};
use crate::{end, fail, run, succeed};
use gguffuse::blocks::TensorType;
use gguffuse::gguf::{ArrayInput, Writer};
use std::path::Path;

fn diff(a: &Path, b: &Path, code: i32) -> String {
    assert_eq!(end(&["diff".as_ref(), "--quiet".as_ref(), a.as_os_str(), b.as_os_str()], code), "");
    end(&["diff".as_ref(), a.as_os_str(), b.as_os_str()], code)
}

#[test]
fn the_same() {
    let folder = Folder::new("same");
    let tensors = float_model();
    let a = folder.file("a.gguf", &file("x", &tensors));
    // In another order, at other offsets.
    let reversed: Vec<Made> = tensors.into_iter().rev().collect();
    let b = folder.file("b.gguf", &file("x", &reversed));
    assert_eq!(diff(&a, &a, 0), "0 differences; the same: 10 tensors\n");
    assert_eq!(diff(&a, &b, 0), "0 differences; the same: 10 tensors\n");
}

#[test]
fn other_metadata() {
    let folder = Folder::new("metadata");
    let write = |name: &str, tokens: &[&[u8]], pi: f32, more: &str| {
        let mut writer = Writer::new();
        writer.metadata("tokens", ArrayInput::String(tokens)).unwrap().metadata("pi", pi).unwrap();
        writer.metadata(more, 1u8).unwrap();
        folder.file(name, &writer.to_vec().unwrap())
    };
    let tokens: Vec<&[u8]> = vec![b"x"; 100];
    let mut others = tokens.clone();
    others[77] = b"y";
    let a = write("a.gguf", &tokens, f32::NAN, "only a");
    let b = write("b.gguf", &others, f32::NAN, "only b");
    let text = diff(&a, &b, 1);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].starts_with("! tokens: string[100] ") && lines[0].ends_with("(first at element 77)"), "{text}");
    assert_eq!(lines[1..], ["- only a: u8 1", "+ only b: u8 1", "3 differences; the same: 0 tensors"]);
    let c = write("c.gguf", &tokens, 3.0, "only a");
    assert_eq!(diff(&a, &c, 1), "! pi: f32 NaN -> f32 3.0\n1 difference; the same: 0 tensors\n");
}

#[test]
fn other_tensors() {
    let folder = Folder::new("tensors");
    let values = weights(512, 1);
    let of = |tensor_type| ("type", tensor_type, vec![256, 2], blocks(tensor_type, &values, 256));
    let ours =
        ("weights", TensorType::F32, vec![4], [1f32, 2.0, 3.0, 4.0].iter().flat_map(|w| w.to_le_bytes()).collect());
    let theirs =
        ("weights", TensorType::F32, vec![4], [1f32, 2.0, 3.0, 6.0].iter().flat_map(|w| w.to_le_bytes()).collect());
    let same = || made("same", TensorType::Q8_0, &[256, 2], 2);
    let a = [
        same(),
        made("only a", TensorType::F16, &[8], 3),
        of(TensorType::F16),
        made("shape", TensorType::F32, &[4, 2], 5),
        ours,
    ];
    let b = [
        theirs,
        of(TensorType::Q8_0),
        made("shape", TensorType::F32, &[2, 4], 5),
        same(),
        made("only b", TensorType::F16, &[8], 3),
    ];
    let a = folder.file("a.gguf", &file("x", &a));
    let b = folder.file("b.gguf", &file("x", &b));
    let text = diff(&a, &b, 1);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "- only a: f16 [8]");
    assert!(
        lines[1].starts_with("! type: f16 [256, 2] -> q8_0, ")
            && lines[1].contains(" of 512 weights differ, the most by "),
        "{text}"
    );
    assert_eq!(lines[2], "! shape: f32 [4, 2] -> f32 [2, 4]");
    // 2 / sqrt(1 + 4 + 9 + 16)
    assert_eq!(
        lines[3],
        "! weights: f32 [4], 1 of 4 weights differ, the most by 2.000e0 (weight 3), relative error 3.651e-1"
    );
    assert_eq!(lines[4..], ["+ only b: f16 [8]", "5 differences; the same: 1 tensor"]);
}

#[test]
fn a_file_that_cannot_be_read_is_no_difference() {
    let folder = Folder::new("unreadable");
    let a = folder.file("a.gguf", &file("x", &[]));
    let none = folder.path("none.gguf");
    fail(&["diff".as_ref(), a.as_os_str(), none.as_os_str()], "none.gguf: cannot open");
    fail(&["diff".as_ref(), none.as_os_str(), a.as_os_str()], "none.gguf: cannot open");
    assert_eq!(run(&["diff".as_ref(), a.as_os_str()]).status.code(), Some(2));
    assert_eq!(succeed(&["diff".as_ref(), a.as_os_str(), a.as_os_str()]), "0 differences; the same: 0 tensors\n");
}
