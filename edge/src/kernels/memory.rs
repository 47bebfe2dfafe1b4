//! Zeroed memory on 64-byte boundaries.
use alloc::vec;
use alloc::vec::Vec;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Bytes on a 64-byte boundary, in whole lines.
pub(super) struct Aligned(Vec<Line>);

impl Aligned {
    pub fn zeroed(bytes: usize) -> Aligned {
        Aligned(vec![Line([0; 64]); bytes.div_ceil(64)])
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: a line is 64 initialised bytes without padding, and lines lie side by side.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 64) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and every bit pattern is a line.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 64) }
    }
}
