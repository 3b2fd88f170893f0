//! Integer mins of eight weight rows times the sums of activations, for [`super::eight_rows`]. Knows no ISA and no type.

use super::activations::Header;
use crate::blocks::{Affine, RowScaling};
use crate::simd::Simd;

/// The integer mins of each row, times the sums of the activations of their groups: by digits, exactly, then as floats. Against
/// sums as floats, which take twelve operations for 32 columns and 24 for 16, it is four and six with one plane.
#[inline(always)]
pub(super) fn times_sums<S: Simd, A: Affine, const P: usize>(
    s: S,
    scaling: &RowScaling<S>,
    header: &Header,
) -> S::Floats {
    if A::GROUP == 32 && P == 3 {
        return times_floats::<S, A>(s, scaling, &header.sums32);
    }
    // Signed ones are made unsigned by adding `bias`; `starts` is what that adds, half of it in each of a row's two lanes.
    let (mut mins, mut most, mut starts) = (scaling.mins, A::MIN_MAX, [s.zero(); 2]);
    if A::OFFSET.is_some() {
        let bias = A::MIN_MAX + 1;
        most = A::MIN_MAX + bias;
        mins = [s.add(mins[0], s.splat_codes(bias as u8)), s.add(mins[1], s.splat_codes(bias as u8))];
        const { assert!(A::EIGHT_ROWS.is_none() || A::OFFSET.is_none() || A::MIN_MAX == 31 || A::MIN_MAX == 127) };
        starts = header.starts.map(|start| s.splat_ints(start * (bias as i32 / 32)));
    }
    let sum = dot::<S, A, P>(s, s.zero(), mins, header, 0, most);
    match P {
        1 => s.to_floats(dot::<S, A, P>(s, s.shift_add(sum, starts[1]), mins, header, 1, most)),
        2 => {
            let sum = dot::<S, A, P>(s, s.shift_add(sum, s.zero()), mins, header, 1, most);
            s.to_floats(dot::<S, A, P>(s, s.shift_add(sum, starts[1]), mins, header, 2, most))
        }
        _ => {
            let high = dot::<S, A, P>(s, s.shift_add(sum, starts[0]), mins, header, 1, most);
            let low = dot::<S, A, P>(s, s.zero(), mins, header, 2, most);
            let low = dot::<S, A, P>(s, s.shift_add(low, starts[1]), mins, header, 3, most);
            s.fma(s.to_floats(high), s.splat(65536.0), s.to_floats(low))
        }
    }
}

/// Adds the products of mins and digit `d` of the sums.
#[inline(always)]
fn dot<S: Simd, A: Affine, const P: usize>(
    s: S,
    sum: S::Ints,
    mins: [S::Codes; 2],
    header: &Header,
    d: usize,
    most: usize,
) -> S::Ints {
    if A::GROUP == 32 {
        return s.dot_bytes(sum, mins[0], s.digits_to_rows(header.digits_of_32(P, d)), most);
    }
    let [first, last] = header.digits_of_16(d);
    let sum = s.dot_bytes(sum, mins[0], s.digits_to_rows(first), most);
    s.dot_bytes(sum, mins[1], s.digits_to_rows(last), most)
}

/// The same by floats, for groups of 32 columns and three planes, where digits would take longer.
#[inline(always)]
fn times_floats<S: Simd, A: Affine>(s: S, scaling: &RowScaling<S>, sums: &[f32; 8]) -> S::Floats {
    let sums: &[[f32; 2]] = sums.as_chunks().0;
    let mins = |two: usize| match A::OFFSET {
        Some(_) => s.row_floats::<true>(scaling.mins[0], two),
        None => s.row_floats::<false>(scaling.mins[0], two),
    };
    let mut offset = s.mul(mins(0), s.floats_to_rows(&sums[0]));
    for two in 1..4 {
        offset = s.fma(mins(two), s.floats_to_rows(&sums[two]), offset);
    }
    if A::OFFSET.is_some() { s.mul(offset, s.splat(1.0 / (1 << 24) as f32)) } else { offset }
}
