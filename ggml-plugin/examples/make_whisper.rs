//! Writes a model of random weights for whisper.cpp, in its own file format: of the tiny model's depth, with rows of 256 columns,
//! weights as Q5_0. It hears nothing sensible.
//!
//! make_whisper FILE

use gguffuse::blocks::{TensorType, quantize};

#[path = "random/mod.rs"]
mod random;

use random::Random;

const VOCABULARY: usize = 51864;
const STATE: usize = 256;
const LAYERS: usize = 4;
const AUDIO: usize = 1500;
const TEXT: usize = 448;
const MELS: usize = 80;
/// Frequencies of a window of 400 samples.
const FREQUENCIES: usize = 201;

#[derive(Default)]
struct Model {
    bytes: Vec<u8>,
}

impl Model {
    fn number(&mut self, number: usize) {
        self.bytes.extend_from_slice(&(number as i32).to_le_bytes());
    }

    fn floats(&mut self, values: impl IntoIterator<Item = f32>) {
        self.bytes.extend(values.into_iter().flat_map(f32::to_le_bytes));
    }

    /// A tensor of `scale * random + offset`.
    fn tensor(
        &mut self,
        random: &mut Random,
        tensor_type: TensorType,
        name: &str,
        dims: &[usize],
        [scale, offset]: [f32; 2],
    ) {
        for number in [dims.len(), name.len(), tensor_type.id() as usize].iter().chain(dims) {
            self.number(*number);
        }
        self.bytes.extend_from_slice(name.as_bytes());
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| random.next() * scale + offset).collect();
        let row_bytes = tensor_type.row_size(dims[0] as u64).expect("whole blocks") as usize;
        let rows = values.len() / dims[0];
        let mut data = vec![0; rows * row_bytes];
        quantize(tensor_type, &values, rows, dims[0], None, &mut data).expect("the type has a quantiser");
        self.bytes.append(&mut data);
    }
}

fn main() {
    let path = std::env::args().nth(1).expect("make_whisper FILE");
    let mut model = Model::default();
    let random = &mut Random(0x9e37_79b9_7f4a_7c15);
    // The version of the quantisation, 2, and "mostly Q5_0".
    const FILE_TYPE: usize = 2008;
    for number in
        [0x6767_6d6c, VOCABULARY, AUDIO, STATE, STATE / 64, LAYERS, TEXT, STATE, STATE / 64, LAYERS, MELS, FILE_TYPE]
    {
        model.number(number);
    }
    // Each mel band takes the frequencies near it.
    model.number(MELS);
    model.number(FREQUENCIES);
    let near = |mel: usize, at: usize| 1.0 - (at as f32 * MELS as f32 / FREQUENCIES as f32 - mel as f32).abs();
    model.floats((0..MELS * FREQUENCIES).map(|i| near(i / FREQUENCIES, i % FREQUENCIES).max(0.0) * 0.02));
    // The others it makes itself.
    const WORDS: usize = 50257;
    model.number(WORDS);
    for word in 0..WORDS {
        let word = format!(" w{word}");
        model.number(word.len());
        model.bytes.extend_from_slice(word.as_bytes());
    }

    let (weight, vector) = (TensorType::Q5_0, TensorType::F32);
    let spread = [1.7 / (STATE as f32).sqrt(), 0.0];
    let (little, one) = ([0.05, 0.0], [0.05, 1.0]);
    for (part, rows) in [("encoder", AUDIO), ("decoder", TEXT)] {
        let decoder = part == "decoder";
        model.tensor(random, vector, &format!("{part}.positional_embedding"), &[STATE, rows], [0.5, 0.0]);
        let last = if decoder { "ln" } else { "ln_post" };
        let mut norms = vec![format!("{part}.{last}")];
        for layer in 0..LAYERS {
            let name = |what: &str| format!("{part}.blocks.{layer}.{what}");
            norms.extend([name("attn_ln"), name("mlp_ln")]);
            let mut attentions = vec!["attn"];
            if decoder {
                norms.push(name("cross_attn_ln"));
                attentions.push("cross_attn");
            }
            for attention in attentions {
                for which in ["query", "key", "value", "out"] {
                    let name = name(&format!("{attention}.{which}"));
                    model.tensor(random, weight, &format!("{name}.weight"), &[STATE, STATE], spread);
                    // Keys have none.
                    if which != "key" {
                        model.tensor(random, vector, &format!("{name}.bias"), &[STATE], little);
                    }
                }
            }
            for (which, k, n) in [("mlp.0", STATE, 4 * STATE), ("mlp.2", 4 * STATE, STATE)] {
                let name = name(which);
                let spread = [1.7 / (k as f32).sqrt(), 0.0];
                model.tensor(random, weight, &format!("{name}.weight"), &[k, n], spread);
                model.tensor(random, vector, &format!("{name}.bias"), &[n], little);
            }
        }
        for norm in norms {
            model.tensor(random, vector, &format!("{norm}.weight"), &[STATE], one);
            model.tensor(random, vector, &format!("{norm}.bias"), &[STATE], little);
        }
    }
    for (name, inputs) in [("conv1", MELS), ("conv2", STATE)] {
        let spread = [1.7 / (3.0 * inputs as f32).sqrt(), 0.0];
        model.tensor(random, TensorType::F16, &format!("encoder.{name}.weight"), &[3, inputs, STATE], spread);
        model.tensor(random, vector, &format!("encoder.{name}.bias"), &[1, STATE], little);
    }
    model.tensor(random, weight, "decoder.token_embedding.weight", &[STATE, VOCABULARY], spread);
    std::fs::write(path, model.bytes).expect("the file is written");
}
