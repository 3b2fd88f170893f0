//! Normal random numbers, the same on every machine and in every run.

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(u64);

impl Random {
    /// The stream number `stream` of `seed`: rows get a stream each, so that they can be made in any order.
    pub fn new(seed: u64, stream: u64) -> Random {
        let mut random = Random(seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03));
        // Neighbouring streams begin far from each other.
        random.0 = random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1].
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Fills `out` with normal numbers of standard deviation `sigma` (Box and Muller 1958).
    pub fn fill_normal(&mut self, sigma: f64, out: &mut [f32]) {
        for pair in out.chunks_mut(2) {
            let radius = sigma * (-2.0 * self.uniform().ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * self.uniform()).sin_cos();
            for (out, factor) in pair.iter_mut().zip([cos, sin]) {
                *out = (radius * factor) as f32;
            }
        }
    }
}
