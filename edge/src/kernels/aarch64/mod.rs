//! aarch64: Advanced SIMD, with and without the dot product and matrix extensions.
mod dot;
mod neon;

pub(super) use neon::{MATRIX, MULTIPLY, Neon, SDOT};
