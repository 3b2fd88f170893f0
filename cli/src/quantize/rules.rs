//! Which tensor becomes of which type. cli/README.md tells the same to users.

use crate::error::{Error, Result};
use crate::open::bits_per_weight;
use crate::text::Safe;
use gguffuse::blocks::TensorType;
use gguffuse::gguf::{File, Tensor};

/// Tensors with two dimensions that stay as they are: they are small, not multiplied by as matrices, or decide where a
/// token goes.
const KEPT: [&str; 6] = [
    "*_norm.weight",
    "*ffn_gate_inp.weight",
    "*ssm_conv1d.weight",
    "*shortconv.conv.weight",
    "position_embd.weight",
    "token_types.weight",
];

/// See the module's text.
pub struct Rules<'a> {
    tensor_type: TensorType,
    patterns: &'a [(String, TensorType)],
    /// The matrix that makes the logits: every error in it is seen at once.
    output: &'static str,
}

impl<'a> Rules<'a> {
    pub fn new(file: &File, tensor_type: TensorType, patterns: &'a [(String, TensorType)]) -> Rules<'a> {
        const OUTPUT: &str = "output.weight";
        let output = if file.find_tensor(OUTPUT).is_ok() { OUTPUT } else { "token_embd.weight" };
        Rules { tensor_type, patterns, output }
    }

    /// The type that a tensor gets: its own where it stays as it is.
    pub fn target(&self, tensor: &Tensor<'_>) -> Result<TensorType> {
        let is_float = matches!(tensor.tensor_type, TensorType::F32 | TensorType::F16 | TensorType::BF16);
        let asked = self.patterns.iter().rfind(|(pattern, _)| matches(pattern, tensor.name)).map(|(_, target)| *target);
        let name = Safe(tensor.name);
        match asked {
            Some(target) if target == tensor.tensor_type => Ok(target),
            Some(target) if !is_float => {
                let (from, to) = (tensor.tensor_type.name(), target.name());
                Err(Error::new(format_args!("{name} is {from} already, and is not made {to} from that")))
            }
            Some(target) if !fits(target, tensor) => {
                let (k, block) = (tensor.dims[0], target.block_elements());
                let to = target.name();
                Err(Error::new(format_args!("{name}: rows of {k} weights make no {to} blocks of {block}")))
            }
            Some(target) => Ok(target),
            None if is_float => Ok(self.usual(tensor)),
            None => Ok(tensor.tensor_type),
        }
    }

    /// What a float tensor becomes where nothing is asked for.
    fn usual(&self, tensor: &Tensor<'_>) -> TensorType {
        let is_matrix = tensor.n_dims >= 2 && tensor.name.ends_with(".weight");
        if !is_matrix || KEPT.iter().any(|pattern| matches(pattern, tensor.name)) {
            return tensor.tensor_type;
        }
        let mut target = self.tensor_type;
        if tensor.name == self.output && bits_per_weight(target) < bits_per_weight(TensorType::Q6_K) {
            target = TensorType::Q6_K;
        }
        // Ever smaller blocks, of as many bits or more; F16 has blocks of one weight.
        while !fits(target, tensor) {
            target = with_smaller_blocks(target);
        }
        target
    }

    /// A pattern that matches nothing is a mistake.
    pub fn check_patterns(&self, file: &File) -> Result<()> {
        let unused =
            self.patterns.iter().find(|(pattern, _)| !file.tensors().any(|tensor| matches(pattern, tensor.name)));
        match unused {
            None => Ok(()),
            Some((pattern, _)) => {
                Err(Error::new(format_args!("--tensor {}: no tensor has such a name", Safe(pattern))))
            }
        }
    }
}

fn fits(target: TensorType, tensor: &Tensor<'_>) -> bool {
    tensor.dims[0].is_multiple_of(target.block_elements() as u64)
}

fn with_smaller_blocks(target: TensorType) -> TensorType {
    match target {
        TensorType::Q6_K => TensorType::Q8_0,
        TensorType::Q5_K => TensorType::Q5_1,
        TensorType::Q4_K => TensorType::Q5_0,
        _ if target.block_elements() > 32 => TensorType::IQ4_NL,
        _ => TensorType::F16,
    }
}

/// Whether `name` is like `pattern`, in which * stands for any characters, none as well.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        // The first place where the part is found leaves the most for the others.
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// llama.cpp's number (`llama_ftype`) of files that are mostly of a type. It chooses nothing when a file is read, but is
/// shown.
pub fn file_type(tensor_type: TensorType) -> Option<u32> {
    Some(match tensor_type {
        TensorType::F32 => 0,
        TensorType::F16 => 1,
        TensorType::Q4_0 => 2,
        TensorType::Q4_1 => 3,
        TensorType::Q8_0 => 7,
        TensorType::Q5_0 => 8,
        TensorType::Q5_1 => 9,
        TensorType::Q2_K => 10,
        // Of several mixtures ("small", "medium", "large") the one that is mostly of one type.
        TensorType::Q3_K => 11,
        TensorType::Q4_K => 14,
        TensorType::Q5_K => 16,
        TensorType::Q6_K => 18,
        TensorType::IQ4_NL => 25,
        TensorType::IQ4_XS => 30,
        TensorType::BF16 => 32,
        TensorType::TQ1_0 => 36,
        TensorType::TQ2_0 => 37,
        TensorType::MXFP4 => 38,
        TensorType::NVFP4 => 39,
        TensorType::Q1_0 => 40,
        TensorType::Q2_0 => 41,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for pattern in
            ["blk.1.attn_q.weight", "*", "blk.*", "*.weight", "blk.*.attn_*.weight", "*1*", "**", "blk.1*.weight"]
        {
            assert!(matches(pattern, "blk.1.attn_q.weight"), "{pattern}");
        }
        for pattern in ["", "blk", "weight", "blk.2*", "*.bias", "blk.*.ffn_*.weight", "blk.1.attn_q.weight*t", "*q*q*"]
        {
            assert!(!matches(pattern, "blk.1.attn_q.weight"), "{pattern}");
        }
        assert!(!matches("ab*ba", "aba"));
    }

    #[test]
    fn every_type_that_can_be_made_has_a_number_and_ends_at_f16() {
        for tensor_type in TensorType::ALL.iter().copied().filter(|tensor_type| tensor_type.can_quantize()) {
            assert!(file_type(tensor_type).is_some(), "{tensor_type:?}");
            let mut smaller = tensor_type;
            while smaller.block_elements() > 1 {
                let before = smaller;
                smaller = with_smaller_blocks(smaller);
                assert!(smaller.block_elements() < before.block_elements(), "{before:?}");
                assert!(bits_per_weight(smaller) >= bits_per_weight(before), "{before:?}");
            }
        }
    }
}
