//! The functions of each instruction set, compiled with its processor features.
#[cfg(target_arch = "aarch64")]
use super::aarch64;
use super::activations::Activations;
use super::ahead::Ahead;
use super::arrange::arrange;
use super::attention::{self, AttentionInput, AttentionScratch};
use super::float_linear::{self, FloatLinear};
use super::lanes::Dot;
use super::linear::{self, Epilogue, Linear, Weights};
use super::portable::Portable;
use super::rows::{self, Function};
#[cfg(target_arch = "x86_64")]
use super::x86_64;
use super::{Isa, Norm};

/// The memory layout of weights and activations: the constants of [`Dot`].
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub columns: usize,
    pub step: usize,
    pub activation_bytes: usize,
    pub offset: i32,
}

impl Layout {
    const fn of<D: Dot>() -> Layout {
        Layout {
            columns: D::COLUMNS,
            step: D::STEP,
            activation_bytes: D::ACTIVATION_BYTES,
            offset: D::OFFSET,
        }
    }
}

type LayerNorm = unsafe fn(&mut [f32], Option<&[f32]>, &Norm<'_>, Ahead, Option<&mut Activations>);

/// One function per operator. The processor must have the features of the table's
/// instruction set to call any.
pub(super) struct Table {
    pub isa: Isa,
    pub layout: Layout,
    pub arrange: fn(&Weights<'_>, usize, &mut [u8]),
    pub quantize: unsafe fn(&[f32], Ahead, &mut Activations),
    pub linear: unsafe fn(&Linear, &Activations, usize, Epilogue, Ahead, &mut [f32]),
    pub float_linear: unsafe fn(&FloatLinear, &[f32], Epilogue, &mut [f32]),
    pub layer_norm: LayerNorm,
    pub attention: unsafe fn(&AttentionInput<'_>, Ahead, &mut AttentionScratch, &mut [f32]),
    pub dequantize: unsafe fn(&[i8], f32, &mut [f32]),
    pub map: unsafe fn(Function, &mut [f32]),
    pub add: unsafe fn(&mut [f32], &[f32]),
    pub softmax: unsafe fn(&mut [f32]),
}

/// Compiles every operator for one [`Dot`] with its processor features.
macro_rules! table {
    ($isa:ident, $dot:ty $(, $features:literal)?) => {{
        $(#[target_feature(enable = $features)])?
        fn quantize(x: &[f32], ahead: Ahead, to: &mut Activations) {
            rows::quantize::<$dot>(x, ahead, to)
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn linear(
            l: &Linear,
            x: &Activations,
            rows: usize,
            epilogue: Epilogue,
            ahead: Ahead,
            out: &mut [f32],
        ) {
            // SAFETY: `Kernels::linear` has checked shapes and instruction set.
            unsafe { linear::linear::<$dot>(l, x, rows, epilogue, ahead, out) }
        }
        $(#[target_feature(enable = $features)])?
        fn float_linear(layer: &FloatLinear, x: &[f32], epilogue: Epilogue, out: &mut [f32]) {
            float_linear::float_linear::<$dot>(layer, x, epilogue, out)
        }
        $(#[target_feature(enable = $features)])?
        fn layer_norm(
            x: &mut [f32],
            y: Option<&[f32]>,
            norm: &Norm<'_>,
            ahead: Ahead,
            to: Option<&mut Activations>,
        ) {
            rows::layer_norm::<$dot>(x, y, norm, ahead, to)
        }
        $(#[target_feature(enable = $features)])?
        fn attention(
            input: &AttentionInput<'_>,
            ahead: Ahead,
            scratch: &mut AttentionScratch,
            out: &mut [f32],
        ) {
            attention::attention::<$dot>(input, ahead, scratch, out)
        }
        $(#[target_feature(enable = $features)])?
        fn dequantize(row: &[i8], scale: f32, to: &mut [f32]) {
            rows::dequantize::<$dot>(row, scale, to)
        }
        $(#[target_feature(enable = $features)])?
        fn map(function: Function, x: &mut [f32]) {
            rows::map::<$dot>(function, x)
        }
        $(#[target_feature(enable = $features)])?
        fn add(x: &mut [f32], y: &[f32]) {
            rows::add::<$dot>(x, y)
        }
        $(#[target_feature(enable = $features)])?
        fn softmax(x: &mut [f32]) {
            rows::softmax::<$dot>(x)
        }
        static TABLE: Table = Table {
            isa: Isa::$isa,
            layout: Layout::of::<$dot>(),
            arrange: arrange::<{ <$dot as Dot>::GROUP }, { <$dot as Dot>::STRIP }>,
            quantize,
            linear,
            float_linear,
            layer_norm,
            attention,
            dequantize,
            map,
            add,
            softmax,
        };
        &TABLE
    }};
}

/// Returns the table of an instruction set, if this build has kernels for it.
pub(super) fn of(isa: Isa) -> Option<&'static Table> {
    match isa {
        Isa::Portable => Some(table!(Portable, Portable)),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Some(table!(Avx2, x86_64::Avx2<false>, "avx2,fma")),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => Some(table!(AvxVnni, x86_64::Avx2<true>, "avx2,fma,avxvnni")),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => {
            Some(table!(Avx512Vnni, x86_64::Avx512<false>, "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni"))
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Amx => {
            Some(table!(Avx512Amx, x86_64::Avx512<true>, "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni"))
        }
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => Some(table!(Neon, aarch64::Neon<{ aarch64::MULTIPLY }>, "neon")),
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDot => Some(table!(NeonDot, aarch64::Neon<{ aarch64::SDOT }>, "neon,dotprod")),
        #[cfg(target_arch = "aarch64")]
        Isa::NeonI8mm => Some(table!(NeonI8mm, aarch64::Neon<{ aarch64::MATRIX }>, "neon,i8mm")),
        _ => None,
    }
}
