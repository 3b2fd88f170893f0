//! Numbers for the examples.

/// The same numbers on every run (xorshift).
pub struct Random(pub u64);

impl Random {
    /// From -1 to 1.
    pub fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}
