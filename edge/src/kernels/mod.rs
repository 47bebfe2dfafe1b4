//! Int8 matrix products and float row operators of a BERT encoder, with the same bits on every processor.
//!
//! Weights are int8 with one scale per output channel ([`Linear`]), activations int8 with one scale per row
//! ([`Activations`]), sums exact in i32, everything else f32; [`FloatLinear`] is for single layers that would
//! lose too much accuracy. [`Kernels`] holds the functions of one instruction set ([`Isa`]); the portable
//! ones are the oracle, and all others equal them bit for bit.
//!
//! This works because integer sums do not depend on order, and each float operator is written once over
//! sixteen virtual lanes (`lanes`): lane i of a reduction takes elements i, i + 16, ..., missing ones are
//! neutral, and a fixed tree joins the lanes. Multiply-adds are fused where the source says so and nowhere
//! else; rounding is half to even; subnormals are kept. Minimum and maximum return their second operand if
//! neither is larger. IEEE 754 leaves the sign and payload of a NaN open, so operators that end a chain write
//! the nearest finite number instead of NaN or infinity: finite weights give finite results, and whatever
//! garbage comes in, the same bits come out everywhere. The thread's floating-point mode must be the one that
//! Rust requires, the default: a host program that flushes subnormals to zero (FTZ, DAZ) changes bits.
//! (`add` and `dequantize_row` pass infinities and NaN through.)
//!
//! Nothing here allocates after [`Linear::pack`], [`FloatLinear::pack`], [`Activations::new`] and
//! [`AttentionScratch::new`].
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod activations;
mod ahead;
mod arrange;
mod attention;
mod float;
mod float_linear;
mod isa;
mod lanes;
mod linear;
mod math;
mod memory;
mod portable;
mod rows;
mod table;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use alloc::string::String;

pub use activations::Activations;
use ahead::Ahead;
pub use attention::{AttentionInput, AttentionScratch, Rows};
pub use float_linear::FloatLinear;
pub use isa::Isa;
pub use linear::{Epilogue, Linear, Weights};
pub use memory::Arena;
use rows::Function;

/// Why kernels cannot be chosen or weights cannot be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// `GOLDCREST_ISA` asks for kernels that are unknown or not available.
    #[error("the environment variable GOLDCREST_ISA: {0}")]
    Variable(alloc::boxed::Box<KernelError>),
    /// The name is not that of an [`Isa`].
    #[error("unknown instruction set \"{name}\"; known: {}", Isa::ALL.map(Isa::name).join(", "))]
    UnknownIsa {
        /// What was requested.
        name: String,
    },
    /// This processor, or this build, does not have these instructions.
    #[error("instruction set {isa} is not available here; the best available is {best}", best = Isa::best())]
    Unavailable {
        /// What was requested.
        isa: Isa,
    },
    /// There are no inputs, no outputs, or more inputs than [`Linear::MAX_INPUTS`].
    #[error("a linear layer of {inputs} inputs and {outputs} outputs is not supported (1 to 65536 inputs)")]
    Shape {
        /// k.
        inputs: usize,
        /// n.
        outputs: usize,
    },
    /// The number of weights is not `inputs * outputs`.
    #[error("{inputs} inputs and {outputs} outputs need {inputs} * {outputs} weights, found {found}")]
    WeightCount {
        /// k.
        inputs: usize,
        /// n.
        outputs: usize,
        /// Number of weights.
        found: usize,
    },
    /// A vector of a linear layer has the wrong length.
    #[error("expected {expected} {what}, found {found}")]
    Count {
        /// Scales or biases.
        what: &'static str,
        /// Number of outputs of the layer.
        expected: usize,
        /// Number of values.
        found: usize,
    },
    /// A weight, scale or bias is not finite, or could make a result overflow.
    #[error("{what} {value} of a linear layer is out of range")]
    Value {
        /// Weight, scale or bias.
        what: &'static str,
        /// The value.
        value: f32,
    },
}

/// Parameters of LayerNorm (Ba et al., arXiv 1607.06450), which uses the biased
/// variance, computed in two passes.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Factor of each element.
    pub gamma: &'a [f32],
    /// Added to each element.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// The functions of one instruction set.
///
/// Methods panic if the lengths of slices do not match or a layer was packed for another instruction set:
/// errors of the calling code, never of the data.
#[derive(Clone, Copy)]
pub struct Kernels {
    table: &'static table::Table,
    ahead: Ahead,
}

impl core::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Kernels").field(&self.isa()).finish()
    }
}

impl Kernels {
    /// Returns the functions for `isa`, if this processor has it.
    ///
    /// # Errors
    /// [`KernelError`], if it has not.
    pub fn new(isa: Isa) -> Result<Kernels, KernelError> {
        match table::of(isa) {
            Some(table) if isa.available() => Ok(Kernels { table, ahead: Ahead::default() }),
            _ => Err(KernelError::Unavailable { isa }),
        }
    }

    /// Returns the fastest functions for this processor.
    pub fn best() -> Kernels {
        let table = table::of(Isa::best()).expect("an available instruction set has a table");
        Kernels { table, ahead: Ahead::default() }
    }

    /// Returns the functions that the environment variable `GOLDCREST_ISA` names, or the fastest if it is
    /// unset or empty.
    ///
    /// # Errors
    /// [`KernelError::Variable`].
    #[cfg(feature = "std")]
    pub fn from_env() -> Result<Kernels, KernelError> {
        match std::env::var_os("GOLDCREST_ISA") {
            Some(name) if !name.is_empty() => {
                let named = || Kernels::new(name.to_string_lossy().parse()?);
                named().map_err(|error| KernelError::Variable(alloc::boxed::Box::new(error)))
            }
            _ => Ok(Kernels::best()),
        }
    }

    /// Returns the same functions, but [`linear`](Self::linear), [`attention`](Self::attention),
    /// [`layer_norm`](Self::layer_norm) and [`quantize_rows`](Self::quantize_rows) fetch weights into the
    /// second-level cache while they compute. `next` is the linear layer that follows.
    ///
    /// This pays for few rows of a model that does not fit this cache. No bit of a result depends on it, and
    /// most instruction sets ignore it.
    pub fn fetching(self, next: &Linear) -> Kernels {
        Kernels { ahead: next.ahead(), ..self }
    }

    /// Returns the instruction set.
    pub fn isa(self) -> Isa {
        self.table.isa
    }

    /// Quantizes rows of `inputs` floats: `scale = absmax / 127`, `q = round(x * (127 / absmax))`, where ties
    /// round to even.
    ///
    /// absmax is clamped to 1e-12 to 1e24; a row of zeros gives zeros.
    pub fn quantize_rows(self, x: &[f32], inputs: usize, to: &mut Activations) {
        assert!(inputs > 0 && x.len().is_multiple_of(inputs), "{} floats are no rows of {inputs}", x.len());
        self.check(to.kernels());
        to.reshape(x.len() / inputs, inputs);
        // SAFETY: `Kernels` exist only for instruction sets that this processor has.
        unsafe { (self.table.quantize)(x, self.ahead, to) }
    }

    /// Computes `out[r][c] = fma(sum over k of x[r][k] * w[k][c], scale[c] * x.scale[r], bias[c])`, then
    /// applies the epilogue.
    ///
    /// `out` is `[rows, outputs]` and determines how many of the first rows of `x` are used.
    pub fn linear(self, layer: &Linear, x: &Activations, epilogue: Epilogue, out: &mut [f32]) {
        let rows = out.len() / layer.outputs();
        assert!(
            out.len().is_multiple_of(layer.outputs()) && rows <= x.rows(),
            "output is not rows * outputs"
        );
        assert!(layer.inputs() == x.inputs(), "{} inputs, but rows of {}", layer.inputs(), x.inputs());
        self.check(x.kernels());
        self.check(layer.kernels());
        // SAFETY: as in `quantize_rows`; shapes and layouts are checked above.
        unsafe { (self.table.linear)(layer, x, rows, epilogue, self.ahead, out) }
    }

    /// Starts from `out[r][c] = bias[c]`, adds `x[r][k] * w[k][c]` by one fused multiply-add per `k`, in
    /// order, then applies the epilogue. NaN and infinities become the nearest finite number.
    ///
    /// `out` is `[rows, outputs]` and determines how many of the first rows of `x` are used.
    pub fn float_linear(self, layer: &FloatLinear, x: &[f32], epilogue: Epilogue, out: &mut [f32]) {
        let rows = out.len() / layer.outputs();
        assert!(out.len().is_multiple_of(layer.outputs()), "output is not rows * outputs");
        // SAFETY: as in `quantize_rows`.
        unsafe { (self.table.float_linear)(layer, &x[..rows * layer.inputs()], epilogue, out) }
    }

    /// Applies LayerNorm to each row of `x` in place, after adding `residual` if given. Also quantizes the
    /// result into `quantized` if given.
    pub fn layer_norm(
        self,
        x: &mut [f32],
        residual: Option<&[f32]>,
        norm: &Norm<'_>,
        mut quantized: Option<&mut Activations>,
    ) {
        let width = norm.gamma.len();
        assert!(width > 0 && norm.beta.len() == width, "gamma and beta differ in length");
        assert!(x.len().is_multiple_of(width) && residual.is_none_or(|y| y.len() == x.len()));
        if let Some(to) = &mut quantized {
            self.check(to.kernels());
            to.reshape(x.len() / width, width);
        }
        // SAFETY: as in `quantize_rows`.
        unsafe { (self.table.layer_norm)(x, residual, norm, self.ahead, quantized) }
    }

    /// Computes softmax attention of every query over every key, head by head, into `out`,
    /// `[query_count, heads * head_size]`.
    pub fn attention(self, input: &AttentionInput<'_>, scratch: &mut AttentionScratch, out: &mut [f32]) {
        input.check(scratch, out);
        // SAFETY: as in `quantize_rows`; shapes are checked above.
        unsafe { (self.table.attention)(input, self.ahead, scratch, out) }
    }

    /// Computes `to = row * scale`, for a row of an int8 embedding table.
    pub fn dequantize_row(self, row: &[i8], scale: f32, to: &mut [f32]) {
        assert!(row.len() == to.len());
        // SAFETY: as in `quantize_rows`.
        unsafe { (self.table.dequantize)(row, scale, to) }
    }

    /// Computes `x += y`.
    pub fn add(self, x: &mut [f32], y: &[f32]) {
        assert!(x.len() == y.len());
        // SAFETY: as in `quantize_rows`.
        unsafe { (self.table.add)(x, y) }
    }

    /// Applies softmax to a row in place.
    pub fn softmax(self, x: &mut [f32]) {
        // SAFETY: as in `quantize_rows`.
        unsafe { (self.table.softmax)(x) }
    }

    /// Replaces each x by e^x, with x clamped to -87 to 88. Relative error below 2.5e-7.
    pub fn exp(self, x: &mut [f32]) {
        self.map(Function::Exp, x);
    }

    /// Replaces each x by its GELU (erf). Absolute error below 3e-6.
    pub fn gelu(self, x: &mut [f32]) {
        self.map(Function::Gelu, x);
    }

    /// Replaces each x by its tanh. Absolute error below 3e-7.
    pub fn tanh(self, x: &mut [f32]) {
        self.map(Function::Tanh, x);
    }

    /// Replaces each x by 1 / (1 + e^-x). Absolute error below 3e-7.
    pub fn sigmoid(self, x: &mut [f32]) {
        self.map(Function::Sigmoid, x);
    }

    fn map(self, function: Function, x: &mut [f32]) {
        // SAFETY: as in `quantize_rows`.
        unsafe { (self.table.map)(function, x) }
    }

    fn check(self, other: Kernels) {
        assert!(self.isa() == other.isa(), "packed for {}, called for {}", other.isa(), self.isa());
    }
}

#[cfg(all(test, target_arch = "x86_64", feature = "std"))]
pub(crate) mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    /// Writes to stderr directly, because the test harness captures what tests print.
    #[allow(clippy::explicit_write)]
    pub(super) fn skip(why: &str) {
        use std::io::Write;
        writeln!(std::io::stderr(), "skipped: {why}").unwrap();
    }

    /// Runs if the processor has AVX-VNNI, or scripts/emulate-x86.sh emulates its one instruction
    /// and sets GOLDCREST_EMULATED.
    #[test]
    fn avx_vnni_equals_portable() {
        let emulated = std::env::var_os("GOLDCREST_EMULATED").is_some();
        assert!(!emulated || Isa::Avx2.available(), "only AVX-VNNI is emulated: the rest needs AVX2");
        if !Isa::AvxVnni.available() && !emulated {
            return skip("no AVX-VNNI here");
        }
        let tables = [Isa::Portable, Isa::AvxVnni].map(|isa| table::of(isa).unwrap());
        let mut state = 5u64;
        let mut random = |count: usize| -> Vec<f32> {
            let next = |_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            };
            (0..count).map(next).collect()
        };
        for (rows, inputs, outputs) in (1..15)
            .zip([1, 3, 4, 30, 64, 77].into_iter().cycle())
            .flat_map(|(rows, inputs)| [1, 16, 37].map(|outputs| (rows, inputs, outputs)))
        {
            let (x, bias, scales) = (random(rows * inputs), random(outputs), random(outputs));
            let scales: Vec<f32> = scales.into_iter().map(f32::abs).collect();
            let weights: Vec<i8> = random(inputs * outputs).into_iter().map(|w| (w * 127.0) as i8).collect();
            let [portable, vnni] = tables.map(|table| {
                let kernels = Kernels { table, ahead: Ahead::default() };
                let weights = Weights::new(&weights, inputs, outputs).unwrap();
                let layer = Linear::pack(kernels, weights, &scales, &bias).unwrap();
                let mut quantized = Activations::new(kernels, rows, inputs);
                kernels.quantize_rows(&x, inputs, &mut quantized);
                let mut out = vec![0.0; rows * outputs];
                kernels.linear(&layer, &quantized, Epilogue::Gelu, &mut out);
                out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            });
            assert_eq!(portable, vnni, "{rows} rows of {inputs} to {outputs}");
        }
    }
}
