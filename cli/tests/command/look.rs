//! `gguffuse tensor`, `verify` and `bench`.

use crate::files::{Folder, every_type, file, float_model, made};
use crate::{end, fail, succeed};
use gguffuse::blocks::TensorType;

#[test]
fn statistics_of_known_weights() {
    let floats: Vec<u8> = [1.0f32, -3.0, 0.0, 4.0, f32::NAN].iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let folder = Folder::new("statistics");
    let path = folder.file("floats.gguf", &file("floats", &[("floats", TensorType::F32, vec![5], floats)]));
    let text = succeed(&["tensor".as_ref(), path.as_os_str(), "floats".as_ref(), "--block=3".as_ref()]);
    for line in [
        "NaN       1",
        "infinite  0",
        "zeros     1 (20.000 %)",
        "min       -3e0",
        "max       4e0",
        "mean      5.000000e-1",
    ] {
        assert!(text.contains(&format!("\n  {line}\n")), "{line:?} is not in\n{text}");
    }
    // (0.25 + 12.25 + 0.25 + 12.25) / 4 = 6.25
    assert!(text.contains("\n  std       2.500000e0\n"), "{text}");
    assert!(
        text.contains("Block 3: row 0, columns 3 to 3") && text.contains("the weight itself: 4e0 (0x40800000)"),
        "{text}"
    );
}

#[test]
fn blocks_of_every_type() {
    let folder = Folder::new("blocks");
    let path = folder.file("types.gguf", &every_type());
    for tensor_type in TensorType::ALL {
        let (name, per_row) = (tensor_type.name(), 256 / tensor_type.block_elements());
        let last = (2 * per_row - 1).to_string();
        let text = succeed(&["tensor".as_ref(), path.as_os_str(), name.as_ref(), "--block".as_ref(), last.as_ref()]);
        assert!(text.contains(&format!("Block {last}: row 1, ")) && text.contains("\n  w[i] = "), "{text}");
        let beyond = (2 * per_row).to_string();
        let arguments = ["tensor".as_ref(), path.as_os_str(), name.as_ref(), "--block".as_ref(), beyond.as_ref()];
        fail(&arguments, &format!("block {beyond} of {beyond}"));
    }
    fail(&["tensor".as_ref(), path.as_os_str(), "none".as_ref()], "tensor \"none\"");
}

#[test]
fn a_block_as_it_was_made() {
    // d = 1, dmin = 0.5, scale 3 and min 2 in group 0 only; code 5 for weight 0 and 15 for weight 1.
    let mut block = vec![0; 144];
    block[..4].copy_from_slice(&[0x00, 0x3c, 0x00, 0x38]);
    (block[4], block[8]) = (3, 2);
    (block[16], block[17]) = (0x05, 0x0f);
    let folder = Folder::new("block");
    let path = folder.file("block.gguf", &file("block", &[("x", TensorType::Q4_K, vec![256], block)]));
    let text = succeed(&["tensor".as_ref(), path.as_os_str(), "x".as_ref()]);
    for line in [
        "d      bytes 0..2             unit of the scales: 1e0 (0x3c00)",
        "dmin   bytes 2..4             unit of the mins: 5e-1 (0x3800)",
        "     0: 3 0 0 0 0 0 0 0",
        "     0: 2 0 0 0 0 0 0 0",
        "     0:  5 15  0  0  0",
        "w[i] = d * s[i/32] * q[i] - dmin * m[i/32]",
        "     0:  1.4000e1  4.4000e1 -1.0000e0 -1.0000e0",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn bad_weights_are_found_where_they_are() {
    let folder = Folder::new("verify");
    let mut tensors = float_model();
    let good = folder.file("good.gguf", &file("good", &tensors));
    let text = succeed(&["verify".as_ref(), good.as_os_str()]);
    assert!(text.starts_with("10 tensors, ") && text.ends_with(": all weights are finite\n"), "{text}");
    assert_eq!(succeed(&["verify".as_ref(), good.as_os_str(), "--quiet".as_ref()]), "");

    // Block 11 of 64: row 1, column 3 * 32. Then an infinity as the last weight of another.
    tensors[8].3[11 * 34..][..2].copy_from_slice(&[0xff, 0x7f]);
    let last = tensors[2].3.len() - 2;
    tensors[2].3[last..].copy_from_slice(&[0x00, 0x7c]);
    let bytes = file("bad", &tensors);
    let bad = folder.file("bad.gguf", &bytes);
    let at = position(&bytes, &tensors[8].3);
    let first = format!(
        "blk.0.already.weight (q8_0): block 11 is bad: row 1, from column 96; byte {} of the file",
        at + 11 * 34
    );
    for threads in ["0", "1", "5"] {
        let text =
            end(&["verify".as_ref(), bad.as_os_str(), "--quiet".as_ref(), "--threads".as_ref(), threads.as_ref()], 1);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].starts_with("blk.0.attn_q.weight (f16): block 8191 is bad: row 31, from column 255"),
            "{text}"
        );
        assert_eq!(lines[1], first);
    }
    fail(&["verify".as_ref(), folder.path("none.gguf").as_os_str()], "none.gguf: cannot open the file");
    let compared = succeed(&["verify".as_ref(), good.as_os_str(), "--compare".as_ref()]);
    assert!(compared.contains("reading alone"), "{compared}");
}

fn position(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).expect("the tensor's bytes")
}

#[test]
fn bench_takes_each_shape_once() {
    let folder = Folder::new("bench");
    let tensors = [
        made("token_embd.weight", TensorType::Q8_0, &[256, 512], 1),
        made("blk.0.a.weight", TensorType::Q4_K, &[256, 128], 2),
        made("blk.1.a.weight", TensorType::Q4_K, &[256, 128], 3),
        made("blk.0.exps.weight", TensorType::Q4_K, &[256, 128, 3], 4),
        made("blk.0.norm.weight", TensorType::F32, &[256], 5),
    ];
    let path = folder.file("model.gguf", &file("model", &tensors));
    let arguments =
        ["bench".as_ref(), path.as_os_str(), "--time=1".as_ref(), "--prefill=8".as_ref(), "--threads=1".as_ref()];
    let text = succeed(&arguments);
    assert!(text.contains("precision exact, 1 thread; reading alone: "), "{text}");
    let words = |begin: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.trim_start().starts_with(begin)).expect(begin);
        line.split_whitespace().map(str::to_owned).collect()
    };
    // Tied to the output: decoded, but nobody needs the logits of all tokens.
    assert_eq!(words("q8_0")[1..5], ["[256,", "512]", "1", "139,264"]);
    assert!(words("q8_0").contains(&"-".to_owned()));
    assert_eq!(words("q4_k")[1..5], ["[256,", "128]", "5", "92,160"]);
    assert!(!words("q4_k").contains(&"-".to_owned()));
    assert_eq!(words("all")[1..3], ["6", "231,424"]);
    let scalar = succeed(&[
        "bench".as_ref(),
        path.as_os_str(),
        "--isa=scalar".as_ref(),
        "--time=1".as_ref(),
        "--precision=fast".as_ref(),
    ]);
    assert!(scalar.starts_with("scalar, precision fast, "), "{scalar}");
    fail(&["bench".as_ref(), path.as_os_str(), "--isa=sse9".as_ref()], "no level is called \"sse9\"");
    let floats = folder.file("norm.gguf", &file("norm", &tensors[4..]));
    fail(&["bench".as_ref(), floats.as_os_str()], "no tensor can be multiplied by");
}
