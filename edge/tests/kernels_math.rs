//! The errors of the polynomials against f64, sampled densely over their ranges, are
//! within the documented bounds.
mod kernels_support;

use goldcrest_edge::kernels::{Isa, Kernels};

/// Returns the largest error over dense points within ±`range`.
fn worst(range: f32, function: fn(Kernels, &mut [f32]), error: impl Fn(f64, f64) -> f64) -> f64 {
    let kernels = Kernels::new(Isa::best()).unwrap();
    let x: Vec<f32> = (-200_000..=200_000).map(|i| i as f32 / 200_000.0 * range).collect();
    let mut y = x.clone();
    function(kernels, &mut y);
    x.iter().zip(&y).map(|(&x, &y)| error(f64::from(x), f64::from(y))).fold(0.0, f64::max)
}

#[test]
fn stated_errors_hold() {
    let exp = worst(87.0, Kernels::exp, |x, y| (y / x.exp() - 1.0).abs());
    let gelu = |x: f64| 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt()));
    let near = worst(6.0, Kernels::gelu, |x, y| (y - gelu(x)).abs());
    let far = worst(1000.0, Kernels::gelu, |x, y| (y - gelu(x)).abs());
    let tanh = worst(20.0, Kernels::tanh, |x, y| (y - x.tanh()).abs());
    let sigmoid = worst(40.0, Kernels::sigmoid, |x, y| (y - 1.0 / (1.0 + (-x).exp())).abs());
    println!("exp {exp:.2e} gelu {near:.2e} {far:.2e} tanh {tanh:.2e} sigmoid {sigmoid:.2e}");
    assert!(exp < 2.5e-7 && near < 3e-6 && far < 3e-6 && tanh < 3e-7 && sigmoid < 3e-7);
}

#[test]
fn far_ends_are_exact() {
    let kernels = Kernels::new(Isa::best()).unwrap();
    let mut x = [-1e30, -5.0, 0.0, 5.0, 1e30];
    kernels.gelu(&mut x);
    assert_eq!(x, [0.0, 0.0, 0.0, 5.0, 1e30]);
    let mut x = [-1e30, 0.0, 1e30];
    kernels.tanh(&mut x);
    assert_eq!(x, [-1.0, 0.0, 1.0]);
}

#[test]
fn softmax_sums_to_one() {
    let kernels = Kernels::new(Isa::best()).unwrap();
    for n in 1..200 {
        let mut x: Vec<f32> = (0..n).map(|i| ((i * 37) % 101) as f32 * 0.3 - 9.0).collect();
        let highest = f64::from(x.iter().copied().fold(f32::MIN, f32::max));
        let e: Vec<f64> = x.iter().map(|&v| (f64::from(v) - highest).exp()).collect();
        let total: f64 = e.iter().sum();
        kernels.softmax(&mut x);
        for (got, e) in x.iter().zip(e) {
            assert!((f64::from(*got) - e / total).abs() < 5e-7);
        }
    }
}
