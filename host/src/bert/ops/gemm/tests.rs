//! Products in bf16 against the naive product of rounded values in f64.

use super::*;
use proptest::prelude::*;
use std::io::Write;

/// Reports if there is none, even where the harness captures output.
fn detect() -> Option<Bf16> {
    let bf16 = Bf16::detect();
    if bf16.is_none() {
        writeln!(std::io::stderr(), "skipped: this processor has no AMX for bf16").unwrap();
    }
    bf16
}

/// Rounds to bf16, ties to even.
fn rounded(x: f32) -> f64 {
    half::bf16::from_f32(x).to_f64()
}

/// A matrix of its own shape, stored by rows or by columns, with some room between them.
fn stored(rows: usize, cols: usize, by_columns: bool, room: usize, value: impl FnMut() -> f32) -> Vec<f32> {
    let (lines, length) = if by_columns { (cols, rows) } else { (rows, cols) };
    std::iter::repeat_with(value).take(lines * (length + room)).collect()
}

fn view(data: &[f32], rows: usize, cols: usize, by_columns: bool, room: usize) -> Matrix<'_> {
    if by_columns {
        Matrix::new(data, cols, rows, rows + room).t()
    } else {
        Matrix::new(data, rows, cols, cols + room)
    }
}

fn at(x: Matrix, row: usize, col: usize) -> f32 {
    x.data[row * x.row_stride + col * x.col_stride]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bf16_is_the_naive_product(
        (m, k, n) in (1usize..150, 1usize..700, 1usize..150),
        by_columns: [bool; 2],
        room in 0usize..20,
        accumulate: bool,
        seed: u32,
    ) {
        let mut i = seed;
        let mut random = || {
            i = i.wrapping_add(1);
            crate::bert::ops::mix(i) as f32 / 2f32.powi(31) - 1.0
        };
        let a = stored(m, k, by_columns[0], room, &mut random);
        let b = stored(k, n, by_columns[1], room, &mut random);
        let before = stored(m, n, false, room, &mut random);
        let (a, b) = (view(&a, m, k, by_columns[0], room), view(&b, k, n, by_columns[1], room));
        if let Some(bf16) = Bf16::detect() {
            let mut out = before.clone();
            bf16.multiply(&mut out, n + room, a, b, accumulate);
            for row in 0..m {
                for col in 0..n + room {
                    let (start, y) = (f64::from(before[row * (n + room) + col]), out[row * (n + room) + col]);
                    if col >= n {
                        prop_assert_eq!(f64::from(y), start, "{:?} wrote beside its output", bf16);
                        continue;
                    }
                    let products = (0..k).map(|p| rounded(at(a, row, p)) * rounded(at(b, p, col)));
                    let wanted = products.sum::<f64>() + if accumulate { start } else { 0.0 };
                    let error = (f64::from(y) - wanted).abs();
                    prop_assert!(error < 1e-6 * (10.0 + k as f64), "{bf16:?} [{row}, {col}]: {y}, {wanted}");
                }
            }
        }
    }
}

#[test]
fn bf16_with_any_number_of_threads_is_the_same() {
    let mut i = 0;
    let mut random = || {
        i += 1;
        crate::bert::ops::mix(i) as f32 / 2f32.powi(31) - 1.0
    };
    let (m, k, n) = (517, 390, 200);
    let (a, b) = (stored(m, k, true, 0, &mut random), stored(k, n, false, 3, &mut random));
    let (a, b) = (view(&a, m, k, true, 0), view(&b, k, n, false, 3));
    if let Some(bf16) = detect() {
        let products = [1, 2, 5].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = vec![f32::NAN; m * n];
            pool.install(|| bf16.multiply(&mut out, n, a, b, false));
            out
        });
        assert!(products[0] == products[1] && products[0] == products[2], "{bf16:?}");
    }
}

/// Infinities and NaN must not vanish: training recognises that it has diverged by them.
#[test]
fn bf16_keeps_what_is_not_finite() {
    if let Some(bf16) = detect() {
        for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
            let (mut a, b) = (vec![1.0; 32 * 40], vec![1.0; 40 * 32]);
            a[3 * 40 + 7] = bad;
            let mut out = vec![0.0; 32 * 32];
            bf16.multiply(&mut out, 32, Matrix::new(&a, 32, 40, 40), Matrix::new(&b, 40, 32, 32), false);
            let finite = out.chunks_exact(32).map(|row| row.iter().all(|y| y.is_finite()));
            assert_eq!(
                finite.enumerate().filter(|(_, finite)| !finite).map(|(i, _)| i).collect::<Vec<_>>(),
                [3]
            );
        }
    }
}
