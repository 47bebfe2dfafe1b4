//! AMX: a tile register is sixteen rows of 64 bytes; `tdpbf16ps` adds the products of two of them to a third.
//! (Intel SDM, volume 1, chapter 18.) Rust's intrinsics for it are not stable.

use super::{SIDE, Tile};
use goldcrest_edge::kernels::Isa;
use std::arch::asm;

/// Bytes of a row of a tile.
const TILE_ROW: usize = 4 * SIDE;

/// Returns whether the processor and the operating system support AMX for bf16.
pub(super) fn available() -> bool {
    /// A bit in EDX of leaf 7.
    const BF16: u32 = 1 << 22;
    // asks the system for permission
    if !Isa::Avx512Amx.available() {
        return false;
    }
    #[allow(unused_unsafe)] // a safe function from Rust 1.92 on
    // SAFETY: a processor with AMX has this leaf.
    let features = unsafe { std::arch::x86_64::__cpuid_count(7, 0) };
    features.edx & BF16 != 0
}

#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Gives all tile registers of this thread their full size.
///
/// # Safety
/// [`available`] was true.
pub(super) unsafe fn configure() {
    let mut configuration =
        Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    configuration.row_bytes[..8].fill(TILE_ROW as u16);
    configuration.rows[..8].fill(SIDE as u8);
    // SAFETY: the configuration is 64 bytes and describes shapes that the processor has; the compiler uses no
    // tile registers.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &configuration, out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _, options(nostack, readonly));
    }
}

/// Releases the tile registers, so that the system need not save them for this thread.
///
/// # Safety
/// [`available`] was true.
pub(super) unsafe fn release() {
    // SAFETY: nothing on this thread still needs what is in the tile registers.
    unsafe {
        asm!("tilerelease", out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
            out("tmm6") _, out("tmm7") _, options(nostack, nomem));
    }
}

/// See [`Ready::multiply`](super::kernel::Ready::multiply).
///
/// # Safety
/// [`configure`] was called on this thread; the lengths are as `Ready::multiply` checks them.
pub(super) unsafe fn multiply(
    a: [&[Tile]; 2],
    b: [&[Tile]; 2],
    out: &mut [f32],
    row_stride: usize,
    accumulate: bool,
) {
    let (upper, stride) = (out.as_mut_ptr(), row_stride * size_of::<f32>());
    let lower = upper.wrapping_add(SIDE * row_stride);
    // SAFETY: reads the tiles and writes 32 rows of 32 sums, all within the slices.
    unsafe {
        asm!(
            "test {accumulate:e}, {accumulate:e}",
            "jz 2f",
            "tileloadd tmm0, [{upper} + {stride}*1]",
            "tileloadd tmm1, [{upper} + {stride}*1 + 64]",
            "tileloadd tmm2, [{lower} + {stride}*1]",
            "tileloadd tmm3, [{lower} + {stride}*1 + 64]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "tileloadd tmm4, [{a0} + {row}*1]",
            "tileloadd tmm6, [{b0} + {row}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b1} + {row}*1]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a1} + {row}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, {tile}",
            "add {a1}, {tile}",
            "add {b0}, {tile}",
            "add {b1}, {tile}",
            "dec {steps}",
            "jnz 3b",
            "tilestored [{upper} + {stride}*1], tmm0",
            "tilestored [{upper} + {stride}*1 + 64], tmm1",
            "tilestored [{lower} + {stride}*1], tmm2",
            "tilestored [{lower} + {stride}*1 + 64], tmm3",
            upper = in(reg) upper,
            lower = in(reg) lower,
            stride = in(reg) stride,
            accumulate = in(reg) u32::from(accumulate),
            a0 = inout(reg) a[0].as_ptr() => _,
            a1 = inout(reg) a[1].as_ptr() => _,
            b0 = inout(reg) b[0].as_ptr() => _,
            b1 = inout(reg) b[1].as_ptr() => _,
            row = in(reg) TILE_ROW,
            steps = inout(reg) a[0].len() => _,
            tile = const size_of::<Tile>(),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _,
            out("tmm7") _,
            options(nostack),
        );
    }
}
