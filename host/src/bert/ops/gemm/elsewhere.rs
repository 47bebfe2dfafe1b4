//! Processors without a kernel for bf16.

use super::Matrix;
use super::bf16::{Side, Tile};

/// There is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {}

/// There is none.
pub(super) enum Ready {}

impl Kernel {
    pub fn detect() -> Option<Self> {
        None
    }

    #[cfg(test)]
    pub fn all() -> Vec<Self> {
        Vec::new()
    }

    pub fn pack(self, _: Matrix, _: usize, _: usize, _: Side, _: &mut Tile) {
        match self {}
    }

    pub fn ready(self) -> Ready {
        match self {}
    }
}

impl Ready {
    pub fn multiply(&self, _: [&[Tile]; 2], _: [&[Tile]; 2], _: &mut [f32], _: usize, _: bool) {
        match *self {}
    }
}
