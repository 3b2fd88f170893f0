//! Fields of a few bits in bytes, as all types here lay them out: byte `i` of `n` holds code `i` in its lowest bits, code
//! `i + n` in the next ones, and so on. Knows no type.

/// Reads fields of `BITS` bits: `codes[i] |= field i << shift`.
#[inline(always)]
pub(super) fn unpack<const BITS: usize>(bytes: &[u8], codes: &mut [u8], shift: u32) {
    for (part, codes) in codes.chunks_exact_mut(bytes.len()).enumerate() {
        for (code, byte) in codes.iter_mut().zip(bytes) {
            *code |= ((byte >> (BITS * part)) & ((1 << BITS) - 1)) << shift;
        }
    }
}

/// Writes fields of `BITS` bits into bytes that are 0: field `i` becomes bits `shift..shift + BITS` of `codes[i]`.
#[inline(always)]
pub(super) fn pack<const BITS: usize>(codes: &[u8], bytes: &mut [u8], shift: u32) {
    for (part, codes) in codes.chunks_exact(bytes.len()).enumerate() {
        for (byte, code) in bytes.iter_mut().zip(codes) {
            *byte |= ((code >> shift) & ((1 << BITS) - 1)) << (BITS * part);
        }
    }
}

/// Reads 32 single bits in order: `codes[i] |= bit i << shift`.
#[inline(always)]
pub(super) fn unpack_row(bytes: [u8; 4], codes: &mut [u8; 32], shift: u32) {
    let row = u32::from_le_bytes(bytes);
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= ((row >> i) as u8 & 1) << shift;
    }
}

/// The reverse of [`unpack_row`].
pub(super) fn pack_row(codes: &[u8; 32], shift: u32) -> [u8; 4] {
    let bits = codes.iter().enumerate().map(|(i, code)| u32::from((code >> shift) & 1) << i);
    bits.fold(0, |row, bit| row | bit).to_le_bytes()
}
