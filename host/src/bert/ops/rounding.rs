//! Rounding to integers and back as the numeric contract defines it: the values that the device computes
//! with.

/// Width of an integer type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// Within ±127.
    Eight,
    /// Within ±7.
    Four,
}

impl Bits {
    /// Returns the largest integer.
    fn most(self) -> f32 {
        match self {
            Bits::Eight => 127.0,
            Bits::Four => 7.0,
        }
    }

    /// Returns the integer that a weight becomes.
    #[inline(always)]
    pub fn integer(self, w: f32, scale: f32) -> f32 {
        let most = self.most();
        (w / scale).round_ties_even().clamp(-most, most)
    }

    /// Returns the scale of a row of weights, by which the largest becomes the largest integer. With 4 bits,
    /// clipping the largest weights can lose less precision, so the scale with the least squared error of
    /// several is chosen.
    pub fn scale(self, row: &[f32]) -> f32 {
        const TRIED: u32 = 10;
        // the floor keeps a row of zeros a row of zeros
        let whole = row.iter().fold(1e-12f32, |m, w| m.max(w.abs())) / self.most();
        if self == Bits::Eight {
            return whole;
        }
        let error = |scale: f32| {
            row.iter().map(|w| f64::from(w - self.integer(*w, scale) * scale).powi(2)).sum::<f64>()
        };
        let tried = (0..TRIED).map(|i| whole * (1.0 - 0.05 * i as f32));
        tried.map(|s| (error(s), s)).min_by(|a, b| a.0.total_cmp(&b.0)).map_or(whole, |(_, s)| s)
    }
}

/// Rounds rows of weights [rows, width] to integers times the row's scale, in place.
pub fn round_weights(weights: &mut [f32], width: usize, bits: Bits) {
    for row in weights.chunks_exact_mut(width) {
        let scale = bits.scale(row);
        row.iter_mut().for_each(|w| *w = bits.integer(*w, scale) * scale);
    }
}
