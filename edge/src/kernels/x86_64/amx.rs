//! AMX: a tile register is sixteen rows of 64 bytes; `tdpbssd` adds the products of two of them to a third,
//! 16 x 16 sums of 64 products each. Rust's intrinsics for it are not stable, so this uses assembly. (Intel
//! SDM, volume 1, chapter 18.)
use core::arch::asm;

use super::super::ahead::{BY_TILE, LINE};
use super::super::lanes::TileOrder;

/// Maximum rows of a tile of activations.
pub(super) const ROWS: usize = 16;
/// Products per sum and instruction.
pub(super) const DEPTH: usize = 64;
/// Columns of weights: three tile registers.
const COLUMNS: usize = 48;
/// Bytes from one group of four inputs to the next.
const GROUP_BYTES: usize = 4 * COLUMNS;
/// Bytes of weights that a step of a tile reads.
const STEP_BYTES: usize = DEPTH * COLUMNS;
const _: () = assert!(STEP_BYTES == BY_TILE);

/// Returns whether the processor and the operating system support AMX. Asks the latter for permission to use
/// it, which holds for the whole process.
#[cfg(all(feature = "std", target_os = "linux"))]
pub(in super::super) fn available() -> bool {
    /// Bits in EDX of leaf 7.
    const TILE_AND_INT8: u32 = 0b11 << 24;
    /// Bits in XCR0: the system saves tiles and their configuration.
    const KEPT: u32 = 0b11 << 17;
    const ARCH_PRCTL: usize = 158;
    const REQUEST_PERMISSION: usize = 0x1023;
    const TILE_DATA: usize = 18;
    if !std::arch::is_x86_feature_detected!("avx512f") {
        return false;
    }
    #[allow(unused_unsafe)] // a safe function from Rust 1.92 on
    // SAFETY: a processor with AVX-512 has this leaf.
    let features = unsafe { core::arch::x86_64::__cpuid_count(7, 0) };
    if features.edx & TILE_AND_INT8 != TILE_AND_INT8 {
        return false;
    }
    let (kept, refused): (u32, usize);
    // SAFETY: AVX-512 is only detected if the system has enabled XGETBV; the system call
    // changes nothing in memory.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") kept, out("edx") _, options(nomem, nostack));
        asm!("syscall", inlateout("rax") ARCH_PRCTL => refused, in("rdi") REQUEST_PERMISSION, in("rsi") TILE_DATA,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    kept & KEPT == KEPT && refused == 0
}

/// Without an operating system to ask, there is no AMX.
#[cfg(not(all(feature = "std", target_os = "linux")))]
pub(in super::super) fn available() -> bool {
    false
}

#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Sets the shapes of the tile registers: 0 is for activations, 1 to 3 for weights, 4 to 6 for sums.
///
/// # Safety
/// [`available`] was true; `rows` is 1 to [`ROWS`].
#[inline(always)]
pub(super) unsafe fn configure(rows: usize) {
    let mut configuration =
        Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    for tile in 0..7 {
        configuration.row_bytes[tile] = 64;
        configuration.rows[tile] = if (1..4).contains(&tile) { 16 } else { rows as u8 };
    }
    // SAFETY: the configuration is 64 bytes and describes shapes that the processor has. It stays in effect
    // after this statement, for this thread: of what runs between this and `release`, only this file uses tile registers;
    // the compiler does not.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &configuration, out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _, options(nostack, readonly));
    }
}

/// Releases the tile registers, so that the system need not save them for this thread.
///
/// # Safety
/// [`available`] was true.
#[inline(always)]
pub(super) unsafe fn release() {
    // SAFETY: nothing on this thread still needs what is in the tile registers.
    unsafe {
        asm!("tilerelease", out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
            out("tmm6") _, out("tmm7") _, options(nostack, nomem));
    }
}

/// Computes `acc[r * 48 + c] = sum over k of x[r][k] * weight[k][c]`, for as many rows as were configured.
///
/// Prefetches weights at the same time, as the processor by itself does not prefetch enough. A tile that is
/// alone on its panel prefetches the weights of the next step, one of several its share of the next panel.
///
/// # Safety
/// [`configure`] was called on this thread. `x` has as many rows as configured, of `stride` bytes, with
/// `steps * DEPTH` i8 each; `panel` has `steps * DEPTH * 48` weights, four inputs of a column side by side;
/// `acc` has room for as many rows of 48 sums; `steps` is not 0.
#[inline(always)]
pub(super) unsafe fn tile(
    x: *const u8,
    stride: usize,
    panel: *const i8,
    steps: usize,
    order: TileOrder,
    acc: *mut i32,
) {
    // only for prefetching: this may point past the end of all weights
    let next_panel = |lines: usize| panel.wrapping_add(steps * (STEP_BYTES + order.tile * 3 * lines * LINE));
    // SAFETY: the caller's contract.
    unsafe {
        match order.tiles {
            1 => fetching::<16>(x, stride, panel, steps, panel.wrapping_add(STEP_BYTES), acc),
            2 => fetching::<8>(x, stride, panel, steps, next_panel(8), acc),
            3 => fetching::<6>(x, stride, panel, steps, next_panel(6), acc),
            4 => fetching::<4>(x, stride, panel, steps, next_panel(4), acc),
            _ => fetching::<0>(x, stride, panel, steps, panel, acc),
        }
    }
}

/// [`tile`], prefetching `LINES` cache lines from `ahead` on for each tile register of weights.
///
/// # Safety
/// The same as for [`tile`].
#[inline(always)]
unsafe fn fetching<const LINES: usize>(
    x: *const u8,
    stride: usize,
    panel: *const i8,
    steps: usize,
    ahead: *const i8,
    acc: *mut i32,
) {
    macro_rules! fetch {
        () => {
            ".set .Lreach, 0\n.rept {lines}\nprefetcht0 [{ahead} + .Lreach]\n.set .Lreach, .Lreach + 64\n.endr\nadd {ahead}, {fetched}"
        };
    }
    // SAFETY: reads and writes what the caller vouches for.
    unsafe {
        asm!(
            "tilezero tmm4",
            "tilezero tmm5",
            "tilezero tmm6",
            "2:",
            "tileloadd tmm0, [{x} + {stride}*1]",
            "tileloadd tmm1, [{panel} + {group}*1]",
            "tdpbssd tmm4, tmm0, tmm1",
            fetch!(),
            "tileloadd tmm2, [{panel} + {group}*1 + 64]",
            "tdpbssd tmm5, tmm0, tmm2",
            fetch!(),
            "tileloadd tmm3, [{panel} + {group}*1 + 128]",
            "tdpbssd tmm6, tmm0, tmm3",
            fetch!(),
            "add {x}, 64",
            "add {panel}, {step}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{acc} + {group}*1], tmm4",
            "tilestored [{acc} + {group}*1 + 64], tmm5",
            "tilestored [{acc} + {group}*1 + 128], tmm6",
            x = inout(reg) x => _,
            stride = in(reg) stride,
            panel = inout(reg) panel => _,
            ahead = inout(reg) ahead => _,
            // a row of sums is as long as a group of weights
            group = in(reg) GROUP_BYTES,
            steps = inout(reg) steps => _,
            acc = in(reg) acc,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _,
            lines = const LINES,
            fetched = const LINES * LINE,
            step = const STEP_BYTES,
            options(nostack),
        );
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    /// Runs if the processor has AMX, or scripts/emulate-x86.sh emulates it and sets GOLDCREST_EMULATED.
    #[test]
    fn a_tile_is_the_naive_product() {
        if !available() && std::env::var_os("GOLDCREST_EMULATED").is_none() {
            return crate::kernels::tests::skip("no AMX here");
        }
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 56) as i8
        };
        for (tiles, (rows, steps)) in (1..).zip([(1, 1), (3, 2), (8, 6), (15, 1), (16, 3)]) {
            let stride = steps * DEPTH + 64;
            let x: Vec<i8> = (0..rows * stride).map(|_| next().max(-127)).collect();
            let weights: Vec<i8> = (0..steps * DEPTH * COLUMNS).map(|_| next()).collect();
            let mut acc = vec![-1i32; (rows + 1) * COLUMNS];
            // SAFETY: the processor has AMX, or it is emulated; lengths are as `tile` requires.
            unsafe {
                configure(rows);
                let order = TileOrder { tile: tiles - 1, tiles };
                tile(x.as_ptr().cast(), stride, weights.as_ptr(), steps, order, acc.as_mut_ptr());
                release();
            }
            for (r, sums) in acc.chunks_exact(COLUMNS).enumerate() {
                for (c, sum) in sums.iter().enumerate() {
                    let product = |k: usize| {
                        let weight = weights[(k / 4) * GROUP_BYTES + 4 * c + k % 4];
                        i32::from(x[r * stride + k]) * i32::from(weight)
                    };
                    let wanted = if r < rows { (0..steps * DEPTH).map(product).sum() } else { -1 };
                    assert_eq!(*sum, wanted, "{rows} rows, {steps} steps: row {r}, column {c}");
                }
            }
        }
    }
}
