//! Writes a model of random weights for tests and measurements: shaped like TinyLlama 1.1B, with the types that llama.cpp's
//! own Q4_K_M has (more bits for attn_v and ffn_down in half of the layers), or with every weight of one type, or a mixture of
//! experts. It says nothing sensible.
//!
//! make_model FILE [--layers L] [--type TYPE] [--experts E] [--width K] [--vocabulary V]
//! make_model FILE --from MODEL: the weights of another file as f32, so that an engine multiplies without rounding.

use gguffuse::blocks::{TensorType, dequantize, quantize};
use gguffuse::gguf::{ArrayInput, File, OpenOptions, Writer};
use std::collections::HashMap;

const HEAD: usize = 64;

#[path = "random/mod.rs"]
mod random;

use random::Random;

/// Nearly normal.
fn normal(random: &mut Random) -> f32 {
    (0..4).map(|_| random.next()).sum::<f32>() * 0.866
}

fn blocks(random: &mut Random, tensor_type: TensorType, n: usize, k: usize) -> Vec<u8> {
    // Rows repeat: quantising takes long.
    const DIFFERENT: usize = 64;
    let row_bytes = tensor_type.row_size(k as u64).expect("k is a multiple of the block") as usize;
    let rows = n.min(DIFFERENT);
    let scale = 1.0 / (k as f32).sqrt();
    let values: Vec<f32> = (0..rows * k).map(|_| normal(random) * scale).collect();
    let mut some = vec![0; rows * row_bytes];
    quantize(tensor_type, &values, rows, k, None, &mut some).expect("the type has a quantiser");
    let mut all = Vec::with_capacity(n * row_bytes);
    for row in 0..n {
        // In another order each time, so that no two stretches are equal.
        let row = (row + row / rows * 13) % rows;
        all.extend_from_slice(&some[row * row_bytes..][..row_bytes]);
    }
    all
}

/// llama.cpp's rule for layers that get more bits.
fn more_bits(layer: usize, layers: usize) -> bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
}

/// A token's text, score and type, for each token.
fn vocabulary(count: usize) -> (Vec<String>, Vec<f32>, Vec<i32>) {
    let text = |i: usize| match i {
        0 => "<unk>".to_owned(),
        1 => "<s>".to_owned(),
        2 => "</s>".to_owned(),
        3..259 => format!("<0x{:02X}>", i - 3),
        _ => format!("\u{2581}t{i}"),
    };
    let kind = |i: usize| match i {
        0 => 2,
        1 | 2 => 3,
        3..259 => 6,
        _ => 1,
    };
    let all = 0..count;
    (all.clone().map(text).collect(), all.clone().map(|i| -(i as f32)).collect(), all.map(kind).collect())
}

/// Copies the file at `source`, with its weights as f32.
fn as_f32(source: &str, path: &str) -> gguffuse::Result<()> {
    let file = File::open(source.as_ref(), &OpenOptions::default())?;
    let mut writer = Writer::new();
    writer.copy_metadata(&file)?;
    let makers: Vec<_> = file
        .tensors()
        .map(|tensor| {
            move |out: &mut dyn FnMut(&[u8]) -> gguffuse::Result<()>| {
                let mut values = vec![0f32; tensor.dims.iter().product::<u64>() as usize];
                dequantize(tensor.tensor_type, tensor.data, &mut values)?;
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                out(&bytes)
            }
        })
        .collect();
    for (tensor, maker) in file.tensors().zip(&makers) {
        writer.tensor_made(tensor.name, TensorType::F32, &tensor.dims[..tensor.n_dims as usize], maker)?;
    }
    writer.write_file(path.as_ref())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, options @ ..] = &arguments[..] else { panic!("make_model FILE [options]") };
    let options: HashMap<&str, &str> =
        options.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let number =
        |name: &str, default: usize| options.get(name).map_or(default, |value| value.parse().expect("a number"));
    if let Some(source) = options.get("--from") {
        return as_f32(source, path).expect("the file is written");
    }
    let (layers, experts, width) = (number("--layers", 22), number("--experts", 0), number("--width", 2048));
    let tokens = number("--vocabulary", 32000);
    let forward = if experts > 0 { width / 2 } else { width * 11 / 4 };
    let (heads, kv_heads) = (width / HEAD, (width / HEAD / 8).max(1));
    let only = options.get("--type").map(|name| {
        TensorType::ALL.iter().copied().find(|tensor_type| tensor_type.name() == *name).expect("a type's name")
    });
    let (small, large) = (only.unwrap_or(TensorType::Q4_K), only.unwrap_or(TensorType::Q6_K));

    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut made: HashMap<(TensorType, usize, usize), Vec<u8>> = HashMap::new();
    let ones: Vec<u8> = [1f32; 1].repeat(width).iter().flat_map(|one| one.to_le_bytes()).collect();
    let gate: Vec<u8> = (0..experts * width).flat_map(|_| normal(&mut random).to_le_bytes()).collect();
    let mut tensors: Vec<(String, TensorType, Vec<u64>)> = Vec::new();
    let mut add = |name: String, tensor_type: TensorType, dims: &[usize]| {
        let (k, n) = (dims[0], dims[1..].iter().product());
        made.entry((tensor_type, n, k)).or_insert_with(|| blocks(&mut random, tensor_type, n, k));
        tensors.push((name, tensor_type, dims.iter().map(|dim| *dim as u64).collect()));
    };
    add("token_embd.weight".into(), small, &[width, tokens]);
    add("output.weight".into(), large, &[width, tokens]);
    for layer in 0..layers {
        let more = if more_bits(layer, layers) { large } else { small };
        let name = |what: &str| format!("blk.{layer}.{what}.weight");
        add(name("attn_q"), small, &[width, width]);
        add(name("attn_k"), small, &[width, kv_heads * HEAD]);
        add(name("attn_v"), more, &[width, kv_heads * HEAD]);
        add(name("attn_output"), small, &[width, width]);
        if experts > 0 {
            add(name("ffn_gate_exps"), small, &[width, forward, experts]);
            add(name("ffn_up_exps"), small, &[width, forward, experts]);
            add(name("ffn_down_exps"), more, &[forward, width, experts]);
        } else {
            add(name("ffn_gate"), small, &[width, forward]);
            add(name("ffn_up"), small, &[width, forward]);
            add(name("ffn_down"), more, &[forward, width]);
        }
    }

    let (texts, scores, kinds) = vocabulary(tokens);
    let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    let mut writer = Writer::new();
    let mut write = || -> gguffuse::Result<()> {
        writer.metadata("general.architecture", "llama")?.metadata("general.name", "random weights")?;
        for (key, value) in [
            ("block_count", layers),
            ("context_length", 2048),
            ("embedding_length", width),
            ("feed_forward_length", forward),
            ("attention.head_count", heads),
            ("attention.head_count_kv", kv_heads),
            ("rope.dimension_count", HEAD),
            ("vocab_size", tokens),
        ] {
            writer.metadata(&format!("llama.{key}"), value as u32)?;
        }
        if experts > 0 {
            writer.metadata("llama.expert_count", experts as u32)?.metadata("llama.expert_used_count", 2u32)?;
        }
        writer.metadata("llama.attention.layer_norm_rms_epsilon", 1e-5f32)?;
        writer.metadata("tokenizer.ggml.model", "llama")?;
        writer.metadata("tokenizer.ggml.tokens", ArrayInput::String(&texts))?;
        writer.metadata("tokenizer.ggml.scores", &scores[..])?.metadata("tokenizer.ggml.token_type", &kinds[..])?;
        writer.metadata("tokenizer.ggml.bos_token_id", 1u32)?.metadata("tokenizer.ggml.eos_token_id", 2u32)?;
        for (name, tensor_type, dims) in &tensors {
            let (k, n) = (dims[0] as usize, dims[1..].iter().product::<u64>() as usize);
            writer.tensor(name, *tensor_type, dims, &made[&(*tensor_type, n, k)])?;
        }
        for layer in 0..layers {
            for what in ["attn_norm", "ffn_norm"] {
                writer.tensor(&format!("blk.{layer}.{what}.weight"), TensorType::F32, &[width as u64], &ones)?;
            }
            if experts > 0 {
                let name = format!("blk.{layer}.ffn_gate_inp.weight");
                writer.tensor(&name, TensorType::F32, &[width as u64, experts as u64], &gate)?;
            }
        }
        writer.tensor("output_norm.weight", TensorType::F32, &[width as u64], &ones)?;
        writer.write_file(path.as_ref())
    };
    write().expect("the file is written");
}
