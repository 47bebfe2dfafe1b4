//! What the kernel tests and the benchmark share: a generator that gives the same values on every machine.
#![allow(dead_code)]

use goldcrest_edge::kernels::{Isa, Kernels};

/// splitmix64 (Steele, Lea and Flood 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a float, uniform within -1 to 1.
    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    /// Mostly ordinary values of one of several magnitudes; with `extreme`, one in eight is arbitrary.
    pub fn wild(&mut self, n: usize, extreme: bool) -> Vec<f32> {
        const ODD: [f32; 14] = [
            0.0,
            -0.0,
            1e-42,
            -1e-42,
            f32::MIN_POSITIVE,
            1e30,
            -1e30,
            f32::MAX,
            f32::MIN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            -f32::NAN,
            0.5,
        ];
        let size = [1.0, 1.0, 8.0, 100.0, 1e-3][(self.next() % 5) as usize];
        let draw = |random: &mut Random| match random.next() % 16 {
            0 if extreme => ODD[(random.next() % ODD.len() as u64) as usize],
            1 if extreme => f32::from_bits(random.next() as u32),
            2 => 0.0,
            _ => random.float() * size,
        };
        (0..n).map(|_| draw(self)).collect()
    }

    /// Returns integers, uniform within -128 to 127.
    pub fn weights(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| self.next() as i8).collect()
    }
}

/// Returns the kernels of every instruction set that this processor has, the portable ones first.
pub fn available() -> Vec<Kernels> {
    Isa::ALL.into_iter().filter(|isa| isa.available()).map(|isa| Kernels::new(isa).unwrap()).collect()
}

/// Returns the bits of floats, for comparing.
pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}
