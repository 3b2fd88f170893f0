//! The layout of every type: where each field lies and how its numbers are packed. The files of the library's `blocks` say
//! the same in words.

use super::{Description, Field, Values, even_signs, joined, packed, signed, u16_at, u32_at};
use gguffuse::blocks::TensorType;

/// The fields of `block`, which has the type's size.
pub fn describe(tensor_type: TensorType, block: &[u8]) -> Description {
    let b = block;
    let (fields, formula) = match tensor_type {
        TensorType::F32 => number(&[0..4], Values::F32(f32::from_bits(u32_at(b, 0)))),
        TensorType::F16 => number(&[0..2], Values::F16(u16_at(b, 0))),
        TensorType::BF16 => number(&[0..2], Values::Bf16(u16_at(b, 0))),
        TensorType::F64 => number(&[0..8], Values::F64(f64::from_bits(u64_at(b)))),
        TensorType::I8 => number(&[0..1], Values::Integers(vec![i64::from(b[0] as i8)])),
        TensorType::I16 => number(&[0..2], Values::Integers(vec![i64::from(u16_at(b, 0) as i16)])),
        TensorType::I32 => number(&[0..4], Values::Integers(vec![i64::from(u32_at(b, 0) as i32)])),
        TensorType::I64 => number(&[0..8], Values::Integers(vec![u64_at(b) as i64])),
        TensorType::Q4_0 => (vec![scale(b, &[0..2]), codes(&[2..18], packed(&b[2..], 16, 4))], "(q[i] - 8) * d"),
        TensorType::Q4_1 => {
            (vec![scale(b, &[0..2]), minimum(b), codes(&[4..20], packed(&b[4..], 16, 4))], "q[i] * d + m")
        }
        TensorType::Q5_0 => (
            vec![scale(b, &[0..2]), codes(&[2..6, 6..22], joined(packed(&b[6..], 16, 4), packed(&b[2..6], 1, 1), 4))],
            "(q[i] - 16) * d",
        ),
        TensorType::Q5_1 => {
            let q = joined(packed(&b[8..], 16, 4), packed(&b[4..8], 1, 1), 4);
            (vec![scale(b, &[0..2]), minimum(b), codes(&[4..8, 8..24], q)], "q[i] * d + m")
        }
        TensorType::Q8_0 => (vec![scale(b, &[0..2]), codes(&[2..34], signed(&b[2..]))], "q[i] * d"),
        TensorType::Q8_1 => {
            let sum = Field::half(b, "s", &[2..4], "d times the sum of q");
            (vec![scale(b, &[0..2]), sum, codes(&[4..36], signed(&b[4..]))], "d * q[i]")
        }
        TensorType::Q8_K => {
            let d = Field::new("d", &[0..4], "scale", Values::F32(f32::from_bits(u32_at(b, 0))));
            let sums = (0..16).map(|group| u16_at(b, 260 + 2 * group) as i16);
            let sums = Field::integers("sums", &[260..292], "of 16 codes each", sums);
            (vec![d, codes(&[4..260], signed(&b[4..260])), sums], "d * q[i]")
        }
        TensorType::Q2_K => q2_k(b),
        TensorType::Q3_K => q3_k(b),
        TensorType::Q4_K => {
            let [d, dmin, s, m] = units_and_six_bits(b);
            (vec![d, dmin, s, m, codes(&[16..144], packed(&b[16..], 32, 4))], "d * s[i/32] * q[i] - dmin * m[i/32]")
        }
        TensorType::Q5_K => {
            let [d, dmin, s, m] = units_and_six_bits(b);
            let q = joined(packed(&b[48..], 32, 4), packed(&b[16..48], 32, 1), 4);
            (vec![d, dmin, s, m, codes(&[16..48, 48..176], q)], "d * s[i/32] * q[i] - dmin * m[i/32]")
        }
        TensorType::Q6_K => q6_k(b),
        TensorType::IQ1_S => iq1_s(b),
        TensorType::IQ1_M => iq1_m(b),
        TensorType::IQ2_XXS => iq2_xxs(b),
        TensorType::IQ2_XS => iq2_xs(b),
        TensorType::IQ2_S => iq2_s(b),
        TensorType::IQ3_XXS => iq3_xxs(b),
        TensorType::IQ3_S => iq3_s(b),
        TensorType::IQ4_NL => (vec![scale(b, &[0..2]), codes(&[2..18], packed(&b[2..], 16, 4))], FOUR_BITS),
        TensorType::IQ4_XS => {
            let s = joined(packed(&b[4..8], 1, 4), packed(&b[2..4], 1, 2), 4);
            let s = scales(&[2..4, 4..8], "per 32 weights, 32 stands for 0", s);
            (vec![unit(b, &[0..2]), s, codes(&[8..136], packed(&b[8..], 16, 4))], FOUR_BITS_GROUPS)
        }
        TensorType::TQ1_0 => (vec![ternary_digits(b), scale(b, &[52..54])], "d * (q[i] - 1)"),
        TensorType::TQ2_0 => (vec![codes(&[0..64], packed(&b[..64], 32, 2)), scale(b, &[64..66])], "d * (q[i] - 1)"),
        TensorType::MXFP4 => {
            let e = Field::integers("e", &[0..1], "exponent of the scale", [b[0]]);
            (vec![e, codes(&[1..17], packed(&b[1..], 16, 4))], "2^(e-127) * E2M1[q[i]]")
        }
        TensorType::NVFP4 => {
            let s = scales(&[0..4], "per 16 weights, UE4M3: 4 bits of exponent over 3 of mantissa", b[..4].to_vec());
            (vec![s, codes(&[4..36], packed(&b[4..], 8, 4))], "UE4M3(s[i/16]) * E2M1[q[i]]")
        }
        TensorType::Q1_0 => (vec![scale(b, &[0..2]), codes(&[2..18], packed(&b[2..], 1, 1))], "d * (2 * q[i] - 1)"),
        TensorType::Q2_0 => (vec![scale(b, &[0..2]), codes(&[2..18], packed(&b[2..], 1, 2))], "d * (q[i] - 1)"),
    };
    Description { fields, formula }
}

type Parts = (Vec<Field>, &'static str);
type Bytes = &'static [std::ops::Range<usize>];

const FOUR_BITS: &str = "d * v[q[i]], v = -127 -104 -83 -65 -49 -35 -22 -10 1 13 25 38 53 69 89 113";
const FOUR_BITS_GROUPS: &str =
    "d * (s[i/32] - 32) * v[q[i]], v = -127 -104 -83 -65 -49 -35 -22 -10 1 13 25 38 53 69 89 113";

fn number(bytes: Bytes, values: Values) -> Parts {
    (vec![Field::new("w", bytes, "the weight itself", values)], "w")
}

fn u64_at(block: &[u8]) -> u64 {
    u64::from(u32_at(block, 0)) | u64::from(u32_at(block, 4)) << 32
}

fn scale(block: &[u8], bytes: Bytes) -> Field {
    Field::half(block, "d", bytes, "scale")
}

fn unit(block: &[u8], bytes: Bytes) -> Field {
    Field::half(block, "d", bytes, "unit of the scales")
}

fn minimum(block: &[u8]) -> Field {
    Field::half(block, "m", &[2..4], "the weight of code 0")
}

fn codes<T: Into<i64>>(bytes: Bytes, values: impl IntoIterator<Item = T>) -> Field {
    Field::integers("q", bytes, "codes", values)
}

fn scales<T: Into<i64>>(bytes: Bytes, note: &'static str, values: impl IntoIterator<Item = T>) -> Field {
    Field::integers("s", bytes, note, values)
}

/// The first 16 bytes of Q4_K and Q5_K.
fn units_and_six_bits(b: &[u8]) -> [Field; 4] {
    let bytes = &b[4..16];
    let s = (0..8).map(|g| if g < 4 { bytes[g] & 63 } else { bytes[g + 4] & 15 | bytes[g - 4] >> 6 << 4 });
    let m = (0..8).map(|g| if g < 4 { bytes[g + 4] & 63 } else { bytes[g + 4] >> 4 | bytes[g] >> 6 << 4 });
    [
        unit(b, &[0..2]),
        Field::half(b, "dmin", &[2..4], "unit of the mins"),
        scales(&[4..16], "scales per 32 weights, 6 bits", s),
        Field::integers("m", &[4..16], "mins per 32 weights, 6 bits", m),
    ]
}

fn q2_k(b: &[u8]) -> Parts {
    let nibbles = packed(&b[..16], 16, 4);
    let s = scales(&[0..16], "scales per 16 weights, low nibbles", nibbles[..16].to_vec());
    let m = Field::integers("m", &[0..16], "mins per 16 weights, high nibbles", nibbles[16..].to_vec());
    let q = codes(&[16..80], packed(&b[16..80], 32, 2));
    let dmin = Field::half(b, "dmin", &[82..84], "unit of the mins");
    (vec![s, m, q, unit(b, &[80..82]), dmin], "d * s[i/16] * q[i] - dmin * m[i/16]")
}

fn q3_k(b: &[u8]) -> Parts {
    let q = codes(&[0..32, 32..96], joined(packed(&b[32..96], 32, 2), packed(&b[..32], 32, 1), 2));
    let s = joined(packed(&b[96..104], 8, 4), packed(&b[104..108], 4, 2), 4);
    let s = scales(&[96..108], "per 16 weights, 6 bits, 32 stands for 0", s);
    (vec![q, s, unit(b, &[108..110])], "d * (s[i/16] - 32) * (q[i] - 4)")
}

fn q6_k(b: &[u8]) -> Parts {
    let q = codes(&[0..128, 128..192], joined(packed(&b[..128], 64, 4), packed(&b[128..192], 32, 2), 4));
    let s = scales(&[192..208], "per 16 weights", signed(&b[192..208]));
    (vec![q, s, unit(b, &[208..210])], "d * s[i/16] * (q[i] - 32)")
}

fn indices<T: Into<i64>>(bytes: Bytes, note: &'static str, values: impl IntoIterator<Item = T>) -> Field {
    Field::integers("index", bytes, note, values)
}

fn signs(bytes: Bytes, note: &'static str, values: impl IntoIterator<Item = u8>) -> Field {
    Field::new("sign", bytes, note, Values::Signs(values.into_iter().collect()))
}

const PER_8: &str = "of a point of the grid, per 8 weights";
const PER_4: &str = "of a point of the grid, per 4 weights";
const SEVEN: &str = "per weight; the eighth makes their number even";
const EIGHT: &str = "per weight";

fn iq2_xxs(b: &[u8]) -> Parts {
    let groups = b[2..].as_chunks::<8>().0;
    let index = groups.iter().flat_map(|group| group[..4].to_vec());
    let words = || groups.iter().map(|group| u32_at(group, 4));
    let sign = words().flat_map(|word| [0, 7, 14, 21].map(|shift| even_signs(word >> shift)));
    let s = scales(&[2..66], "per 32 weights, 4 bits", words().map(|word| word >> 28));
    let fields = vec![unit(b, &[0..2]), indices(&[2..66], PER_8, index), signs(&[2..66], SEVEN, sign), s];
    (fields, "d * (s[i/32] + 0.5) / 4 * sign[i] * grid[index[i/8]][i%8]")
}

fn iq2_xs(b: &[u8]) -> Parts {
    let points = || (0..32).map(|l| u16_at(b, 2 + 2 * l));
    let index = indices(&[2..66], PER_8, points().map(|point| point & 511));
    let sign = signs(&[2..66], SEVEN, points().map(|point| even_signs(u32::from(point >> 9))));
    let s = scales(&[66..74], "per 16 weights, 4 bits", packed(&b[66..], 1, 4));
    (vec![unit(b, &[0..2]), index, sign, s], "d * (s[i/16] + 0.5) / 4 * sign[i] * grid[index[i/8]][i%8]")
}

fn iq2_s(b: &[u8]) -> Parts {
    let low = b[2..34].iter().map(|byte| u16::from(*byte)).collect();
    let index = indices(&[2..34, 66..74], PER_8, joined(low, packed(&b[66..74], 1, 2), 8));
    let sign = signs(&[34..66], EIGHT, b[34..66].to_vec());
    let s = scales(&[74..82], "per 16 weights, 4 bits", packed(&b[74..], 1, 4));
    (vec![unit(b, &[0..2]), index, sign, s], "d * (s[i/16] + 0.5) / 4 * sign[i] * grid[index[i/8]][i%8]")
}

fn iq3_xxs(b: &[u8]) -> Parts {
    let words = || (0..8).map(|group| u32_at(b, 66 + 4 * group));
    let sign = words().flat_map(|word| [0, 7, 14, 21].map(|shift| even_signs(word >> shift)));
    let s = scales(&[66..98], "per 32 weights, 4 bits", words().map(|word| word >> 28));
    let fields = vec![unit(b, &[0..2]), indices(&[2..66], PER_4, b[2..66].to_vec()), signs(&[66..98], SEVEN, sign), s];
    (fields, "d * (s[i/32] + 0.5) / 2 * sign[i] * grid[index[i/4]][i%4]")
}

fn iq3_s(b: &[u8]) -> Parts {
    let low = b[2..66].iter().map(|byte| u16::from(*byte)).collect();
    let index = indices(&[2..66, 66..74], PER_4, joined(low, packed(&b[66..74], 1, 1), 8));
    let sign = signs(&[74..106], EIGHT, b[74..106].to_vec());
    let s = scales(&[106..110], "per 32 weights, 4 bits", packed(&b[106..], 1, 4));
    (vec![unit(b, &[0..2]), index, sign, s], "d * (2 * s[i/32] + 1) * sign[i] * grid[index[i/4]][i%4]")
}

fn iq1_s(b: &[u8]) -> Parts {
    let high = || (0..8).map(|group| u16_at(b, 34 + 2 * group));
    let thirds = high().flat_map(|word| [0, 3, 6, 9].map(|shift| word >> shift & 7)).collect();
    let low = b[2..34].iter().map(|byte| u16::from(*byte)).collect();
    let fields = vec![
        unit(b, &[0..2]),
        indices(&[2..34, 34..50], PER_8, joined(low, thirds, 8)),
        scales(&[34..50], "per 32 weights, 3 bits", high().map(|word| word >> 12 & 7)),
        Field::integers("delta", &[34..50], "per 32 weights: 0 is +1/8, 1 is -1/8", high().map(|word| word >> 15)),
    ];
    (fields, "d * (2 * s[i/32] + 1) * (grid[index[i/8]][i%8] + delta[i/32])")
}

fn iq1_m(b: &[u8]) -> Parts {
    let words = [48, 50, 52, 54].map(|at| u16_at(b, at));
    let d = words.iter().rev().fold(0, |d, word| d << 4 | word >> 12);
    let s = words.iter().flat_map(|word| [0, 3, 6, 9].map(|shift| word >> shift & 7));
    let high = packed(&b[32..48], 1, 4);
    let low = b[..32].iter().map(|byte| u16::from(*byte)).collect();
    let delta = high.iter().map(|high| high >> 3);
    let fields = vec![
        Field::integers("delta", &[32..48], "per 8 weights: 0 is +1/8, 1 is -1/8", delta),
        indices(&[0..32, 32..48], PER_8, joined(low, high.iter().map(|high| high & 7).collect(), 8)),
        scales(&[48..56], "per 16 weights, 3 bits", s),
        Field::new("d", &[48..56], "unit of the scales, 4 bits in each of four words", Values::F16(d)),
    ];
    (fields, "d * (2 * s[i/16] + 1) * (grid[index[i/8]][i%8] + delta[i/8])")
}

/// A byte is a fraction in 256ths, base 3 and rounded up: its digits come out at the top, one after the other.
fn ternary_digits(b: &[u8]) -> Field {
    let digits = |bytes: &[u8], places: u32| -> Vec<u16> {
        let place = |n: u32| bytes.iter().map(move |byte| (((u16::from(*byte) * 3u16.pow(n)) & 255) * 3) >> 8);
        (0..places).flat_map(place).collect()
    };
    let q = [digits(&b[..32], 5), digits(&b[32..48], 5), digits(&b[48..52], 4)].concat();
    Field::integers("q", &[0..32, 32..48, 48..52], "ternary digits, 5 (in the last bytes 4) per byte", q)
}
