//! Processors for which there are no kernels for bf16.

use super::Matrix;

/// The proof that this processor multiplies bf16: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bf16 {}

impl Bf16 {
    /// Returns the proof, if this processor has AMX for bf16.
    pub fn detect() -> Option<Self> {
        None
    }

    pub(super) fn pays(_: usize, _: usize, _: usize) -> bool {
        false
    }

    pub(super) fn multiply(self, _: &mut [f32], _: usize, _: Matrix, _: Matrix, _: bool) {
        match self {}
    }
}
