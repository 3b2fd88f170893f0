//! `gguffuse quantize`: the bytes are those of the library's quantisers.

use crate::files::{Folder, blocks, file, float_model, made, open, weights};
use crate::{fail, succeed};
use gguffuse::blocks::{TensorType, dequantize, quantize};
use gguffuse::gguf::Writer;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;

/// What becomes of the model with `--type q4_k`, and why.
const Q4_K: [(&str, TensorType); 10] = [
    // Of few bits, and the output as well, as there is no other.
    ("token_embd.weight", TensorType::Q6_K),
    ("blk.0.attn_norm.weight", TensorType::F32),
    ("blk.0.attn_q.weight", TensorType::Q4_K),
    ("blk.0.attn_k.weight", TensorType::Q4_K),
    ("blk.0.ffn_gate_inp.weight", TensorType::F32),
    ("blk.0.ffn_up_exps.weight", TensorType::Q4_K),
    // Rows of 96 and of 7.
    ("blk.0.ffn_down.weight", TensorType::Q5_0),
    ("blk.0.odd.weight", TensorType::F16),
    ("blk.0.already.weight", TensorType::Q8_0),
    ("blk.0.none.weight", TensorType::Q4_K),
];

fn quantized<A: AsRef<OsStr>>(input: &Path, output: &Path, more: &[A]) -> String {
    let fixed = ["quantize".as_ref(), input.as_os_str(), output.as_os_str()];
    let arguments: Vec<&OsStr> = fixed.into_iter().chain(more.iter().map(AsRef::as_ref)).collect();
    succeed(&arguments)
}

/// The f32 values of a tensor.
fn floats(tensor_type: TensorType, data: &[u8]) -> Vec<f32> {
    let mut floats = vec![0.0; data.len() / tensor_type.block_bytes() * tensor_type.block_elements()];
    dequantize(tensor_type, data, &mut floats).unwrap();
    floats
}

#[test]
fn each_tensor_by_its_rule() {
    let folder = Folder::new("rules");
    let tensors = float_model();
    let (input, output) = (folder.file("in.gguf", &file("model", &tensors)), folder.path("out.gguf"));
    let dry = quantized(&input, &output, &["--type=q4_k", "--dry-run"]);
    assert!(dry.contains("10 tensors, 7 of them quantised"), "{dry}");
    assert_eq!(folder.names(), ["in.gguf"]);
    let text = quantized(&input, &output, &["--type", "Q4_K", "--threads=2"]);
    assert!(text.starts_with("10 tensors, 7 of them quantised: "), "{text}");
    assert_eq!(folder.names(), ["in.gguf", "out.gguf"]);

    let file = open(&output);
    for (tensor, (made, (name, tensor_type))) in file.tensors().zip(tensors.iter().zip(Q4_K)) {
        assert_eq!((tensor.name, tensor.tensor_type), (name, tensor_type));
        assert_eq!(tensor.dims[..tensor.n_dims as usize], made.2);
        match made.1 == tensor_type {
            true => assert_eq!(tensor.data, made.3, "{name}"),
            false => {
                assert_eq!(tensor.data, blocks(tensor_type, &floats(made.1, &made.3), made.2[0] as usize), "{name}")
            }
        }
    }
    assert_eq!(file.get("general.name").unwrap().as_bytes().unwrap(), b"model");
    assert_eq!(file.get("general.file_type").unwrap().as_u64().unwrap(), 14);
    assert_eq!(file.get("general.quantization_version").unwrap().as_u64().unwrap(), 2);

    // The same bytes for any number of threads, and under the name of the input.
    let bytes = std::fs::read(&output).unwrap();
    quantized(&input, &input, &["--type=q4_k", "--threads=1", "--quiet"]);
    assert_eq!(std::fs::read(&input).unwrap(), bytes);
    // Quantised again: there is nothing left to do but for what stayed float.
    let again = quantized(&input, &output, &["--type=q8_0", "--dry-run"]);
    assert!(again.contains("10 tensors, 0 of them quantised"), "{again}");
}

#[test]
fn patterns_choose_other_types() {
    let folder = Folder::new("patterns");
    let (input, output) = (folder.file("in.gguf", &file("model", &float_model())), folder.path("out.gguf"));
    let text = quantized(
        &input,
        &output,
        &[
            "--type=q8_0",
            "--tensor",
            "blk.*=iq4_xs",
            "--tensor=*norm*=bf16",
            "--tensor=*ffn_down*=f16",
            "--tensor=*odd*=f32",
            "--tensor=*already*=q8_0",
        ],
    );
    assert!(text.contains("bits per weight"), "{text}");
    let types: HashMap<String, TensorType> =
        open(&output).tensors().map(|tensor| (tensor.name.to_owned(), tensor.tensor_type)).collect();
    for (name, tensor_type) in [
        ("token_embd.weight", TensorType::Q8_0),
        ("blk.0.attn_norm.weight", TensorType::BF16),
        ("blk.0.attn_q.weight", TensorType::IQ4_XS),
        ("blk.0.ffn_gate_inp.weight", TensorType::IQ4_XS),
        ("blk.0.ffn_down.weight", TensorType::F16),
        ("blk.0.odd.weight", TensorType::F32),
    ] {
        assert_eq!(types[name], tensor_type, "{name}");
    }
    let refused = |pattern: &str, why: &str| {
        let arguments = [
            "quantize".as_ref(),
            input.as_os_str(),
            output.as_os_str(),
            "--type=q8_0".as_ref(),
            "--tensor".as_ref(),
            pattern.as_ref(),
        ];
        fail(&arguments, why);
    };
    refused("blk.7.*=q8_0", "no tensor has such a name");
    refused("blk.0.odd.weight=q8_0", "rows of 7 weights make no q8_0 blocks of 32");
    refused("*already*=q4_0", "is q8_0 already");
    refused("*=iq1_s", "can be made: ");
    refused("nothing", "it has no \"=\"");
}

#[test]
fn an_importance_matrix_counts() {
    let folder = Folder::new("importance");
    let tensors = [
        made("blk.0.a.weight", TensorType::F32, &[256, 8], 1),
        made("blk.0.exps.weight", TensorType::F16, &[256, 4, 2], 2),
    ];
    let (input, output) = (folder.file("in.gguf", &file("model", &tensors)), folder.path("out.gguf"));
    let sums: Vec<f32> = weights(512, 3).iter().map(|sum| sum * sum).collect();
    let bytes = |floats: &[f32]| -> Vec<u8> { floats.iter().flat_map(|float| float.to_le_bytes()).collect() };
    let mut writer = Writer::new();
    let (all, first, one, two) = (bytes(&sums), bytes(&sums[..256]), bytes(&[10.0]), bytes(&[10.0, 0.0]));
    writer.metadata("general.type", "imatrix").unwrap().metadata("imatrix.chunk_count", 7u32).unwrap();
    writer.tensor("blk.0.a.weight.in_sum2", TensorType::F32, &[256, 1], &first).unwrap();
    writer.tensor("blk.0.a.weight.counts", TensorType::F32, &[1, 1], &one).unwrap();
    writer.tensor("blk.0.exps.weight.in_sum2", TensorType::F32, &[256, 2], &all).unwrap();
    writer.tensor("blk.0.exps.weight.counts", TensorType::F32, &[1, 2], &two).unwrap();
    let imatrix = folder.file("imatrix.gguf", &writer.to_vec().unwrap());
    let option = format!("--imatrix={}", imatrix.display());
    quantized(&input, &output, &["--type=q4_k", &option]);

    let known: Vec<f32> = sums[..256].iter().map(|sum| sum / 10.0).collect();
    let made = |floats: &[f32], importance: &[f32]| {
        let mut out = vec![0; floats.len() / 256 * 144];
        quantize(TensorType::Q4_K, floats, floats.len() / 256, 256, Some(importance), &mut out).unwrap();
        out
    };
    let file = open(&output);
    assert_eq!(file.tensor(0).unwrap().data, made(&floats(TensorType::F32, &tensors[0].3), &known));
    // No token met the second expert: all of its columns count the same.
    let experts = floats(TensorType::F16, &tensors[1].3);
    let expected = [made(&experts[..1024], &known), made(&experts[1024..], &[1.0; 256])].concat();
    assert_eq!(file.tensor(1).unwrap().data, expected);
    assert_ne!(file.tensor(0).unwrap().data, blocks(TensorType::Q4_K, &floats(TensorType::F32, &tensors[0].3), 256));
    assert_eq!(file.get("quantize.imatrix.file").unwrap().as_bytes().unwrap(), b"imatrix.gguf");
    assert_eq!(file.get("quantize.imatrix.entries_count").unwrap().as_u64().unwrap(), 2);
    assert_eq!(file.get("quantize.imatrix.chunks_count").unwrap().as_u64().unwrap(), 7);

    let refused = |imatrix: &Path, why: &str| {
        let option = format!("--imatrix={}", imatrix.display());
        fail(
            &["quantize".as_ref(), input.as_os_str(), output.as_os_str(), "--type=q4_k".as_ref(), option.as_ref()],
            why,
        );
    };
    refused(&input, "not an importance matrix");
    let other = [crate::files::made("blk.0.a.weight", TensorType::F32, &[512, 8], 1)];
    let input = folder.file("other.gguf", &crate::files::file("other", &other));
    fail(
        &["quantize".as_ref(), input.as_os_str(), output.as_os_str(), "--type=q4_k".as_ref(), option.as_ref()],
        "256 sums and 1 counts",
    );
}

#[test]
fn what_goes_wrong_leaves_nothing_behind() {
    let folder = Folder::new("nothing");
    let mut tensors = float_model();
    let input = folder.file("in.gguf", &file("model", &tensors));
    tensors[5].3[4 * 300..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let bad = folder.file("bad.gguf", &file("model", &tensors));
    let refused = |input: &Path, output: &Path, why: &str| {
        fail(&["quantize".as_ref(), input.as_os_str(), output.as_os_str(), "--type=q4_k".as_ref()], why);
        assert_eq!(folder.names(), ["bad.gguf", "in.gguf"]);
    };
    refused(&bad, &folder.path("out.gguf"), "blk.0.ffn_up_exps.weight: weight 300 is NaN or infinite");
    refused(&input, &folder.path("none/out.gguf"), "cannot create a file beside it");
    refused(&input, Path::new("/dev/null"), "not a regular file");
    refused(&folder.path("none.gguf"), &folder.path("out.gguf"), "none.gguf: cannot open the file");
    fail(
        &["quantize".as_ref(), input.as_os_str(), folder.path("out.gguf").as_os_str(), "--type=q9_z".as_ref()],
        "can be made: ",
    );
}
