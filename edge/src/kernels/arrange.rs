//! Rearranges the weights of a matrix into the order in which a kernel reads them: strips of outputs, with
//! groups of inputs of an output side by side.
use super::linear::Weights;

/// Outputs that are transposed at once: a register of bytes.
const BLOCK: usize = 16;

/// Writes the weights to `panels` in strips of `STRIP` outputs with `depth` inputs each, `GROUP` inputs of an
/// output side by side. Does not write padding, which must be zero already.
pub(super) fn arrange<const GROUP: usize, const STRIP: usize>(
    weights: &Weights<'_>,
    depth: usize,
    panels: &mut [u8],
) {
    const { assert!(STRIP.is_multiple_of(BLOCK) || BLOCK.is_multiple_of(STRIP)) };
    let whole = (weights.inputs / GROUP * GROUP, weights.outputs / BLOCK * BLOCK);
    for output in (0..whole.1).step_by(BLOCK) {
        for input in (0..whole.0).step_by(GROUP) {
            // not `array::from_fn`, which is not inlined for large GROUP: this loop is
            // most of the work of loading
            let mut rows = [[0; BLOCK]; GROUP];
            for (i, to) in rows.iter_mut().enumerate() {
                let row = &weights.row(input + i)[output..];
                *to = row.first_chunk::<BLOCK>().expect("a whole block").map(|v| v as u8);
            }
            let columns = transpose::<GROUP>(rows);
            let part = BLOCK.min(STRIP) * GROUP;
            for (n, part) in columns.as_flattened().chunks_exact(part).enumerate() {
                let to = place::<GROUP, STRIP>(depth, input, output + n * BLOCK.min(STRIP));
                panels[to..][..part.len()].copy_from_slice(part);
            }
        }
    }
    // the rest, which is smaller than a block
    for output in 0..weights.outputs {
        let first = if output < whole.1 { whole.0 } else { 0 };
        for input in first..weights.inputs {
            panels[place::<GROUP, STRIP>(depth, input, output)] = weights.row(input)[output] as u8;
        }
    }
}

/// Returns the index of a weight in `panels`.
fn place<const GROUP: usize, const STRIP: usize>(depth: usize, input: usize, output: usize) -> usize {
    let strip = output / STRIP * STRIP * depth;
    strip + input / GROUP * STRIP * GROUP + output % STRIP * GROUP + input % GROUP
}

/// Transposes a byte matrix `[GROUP, BLOCK]`, and returns the result, `[BLOCK, GROUP]` row by row, in as many
/// registers. Interleaving the first half of the rows with the second rotates the bits of every byte's index
/// by one; after log2(GROUP) rounds, row and column have changed places.
#[inline(always)]
fn transpose<const GROUP: usize>(mut rows: [[u8; BLOCK]; GROUP]) -> [[u8; BLOCK]; GROUP] {
    const { assert!(GROUP.is_power_of_two()) };
    for _ in 0..GROUP.ilog2() {
        let halves = rows;
        for i in 0..GROUP / 2 {
            [rows[2 * i], rows[2 * i + 1]] = zip(halves[i], halves[GROUP / 2 + i]);
        }
    }
    rows
}

/// Implements [`zip`] by two instructions.
#[cfg(any(
    all(target_arch = "x86_64", target_feature = "sse2"),
    all(target_arch = "aarch64", target_feature = "neon", target_endian = "little")
))]
macro_rules! zip_registers {
    ($register:ty, $low:ident, $high:ident, $a:ident, $b:ident) => {
        // SAFETY: a register is sixteen bytes of any value.
        unsafe {
            let a = core::mem::transmute::<[u8; BLOCK], $register>($a);
            let b = core::mem::transmute::<[u8; BLOCK], $register>($b);
            core::mem::transmute::<[$register; 2], [[u8; BLOCK]; 2]>([$low(a, b), $high(a, b)])
        }
    };
}

/// Interleaves the bytes of two registers.
#[inline(always)]
fn zip(a: [u8; BLOCK], b: [u8; BLOCK]) -> [[u8; BLOCK]; 2] {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    {
        use core::arch::x86_64::{__m128i as Register, _mm_unpackhi_epi8 as high, _mm_unpacklo_epi8 as low};
        zip_registers!(Register, low, high, a, b)
    }
    #[cfg(all(target_arch = "aarch64", target_feature = "neon", target_endian = "little"))]
    {
        use core::arch::aarch64::{uint8x16_t as Register, vzip1q_u8 as low, vzip2q_u8 as high};
        zip_registers!(Register, low, high, a, b)
    }
    #[cfg(not(any(
        all(target_arch = "x86_64", target_feature = "sse2"),
        all(target_arch = "aarch64", target_feature = "neon", target_endian = "little")
    )))]
    core::array::from_fn(|half| {
        core::array::from_fn(
            |i| if i % 2 == 0 { a[(BLOCK * half + i) / 2] } else { b[(BLOCK * half + i) / 2] },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn check<const GROUP: usize, const STRIP: usize>(weights: &Weights<'_>) {
        let depth = weights.inputs.next_multiple_of(GROUP);
        let mut panels = vec![0; depth * weights.outputs.next_multiple_of(STRIP)];
        let mut naive = panels.clone();
        arrange::<GROUP, STRIP>(weights, depth, &mut panels);
        let mut to = naive.iter_mut();
        for first in (0..weights.outputs).step_by(STRIP) {
            for k in (0..depth).step_by(GROUP) {
                for output in first..first + STRIP {
                    for input in k..k + GROUP {
                        let there = input < weights.inputs && output < weights.outputs;
                        let value = if there { weights.row(input)[output] as u8 } else { 0 };
                        *to.next().unwrap() = value;
                    }
                }
            }
        }
        assert!(panels == naive, "{GROUP} by {STRIP}, {} by {}", weights.inputs, weights.outputs);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_weight_is_in_its_place(inputs in 1_usize..70, outputs in 1_usize..130, seed in 1_u32..) {
            let values = core::iter::successors(Some(seed), |x| Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
            let data: Vec<i8> = values.map(|x| (x >> 24) as i8).take(inputs * outputs).collect();
            let weights = Weights::new(&data, inputs, outputs).unwrap();
            check::<1, 16>(&weights);
            check::<2, 16>(&weights);
            check::<4, 48>(&weights);
            check::<4, 16>(&weights);
            check::<8, 16>(&weights);
            check::<16, 4>(&weights);
        }
    }
}
