//! Linear layers of the classifier, packed once: int8, or f32 if the bundle has a matrix in half precision.

use crate::kernels::{Activations, Arena, Epilogue, FloatLinear, KernelError, Kernels, Linear, Weights};

use crate::model::graph::halves;
use crate::model::recognise::LinearParts;

/// A packed linear layer.
pub(super) enum Dense {
    Int8(Linear),
    Float(FloatLinear),
}

impl Dense {
    /// Returns the number of outputs, n.
    pub fn outputs(&self) -> usize {
        match self {
            Dense::Int8(linear) => linear.outputs(),
            Dense::Float(linear) => linear.outputs(),
        }
    }

    /// Returns the heap memory in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Dense::Int8(linear) => linear.bytes(),
            Dense::Float(linear) => linear.bytes(),
        }
    }

    /// Returns the size of the weights in the bundle of which this is a copy, in bytes.
    pub fn copied(&self) -> usize {
        match self {
            Dense::Int8(linear) => linear.inputs() * linear.outputs(),
            Dense::Float(linear) => 2 * linear.inputs() * linear.outputs(),
        }
    }

    /// Returns kernels that fetch this layer's weights while they compute what precedes it.
    pub fn fetched_by(&self, kernels: Kernels) -> Kernels {
        match self {
            Dense::Int8(linear) => kernels.fetching(linear),
            Dense::Float(_) => kernels,
        }
    }

    /// Applies the layer to the first rows of `x`, which `quantized` holds as well, and fills `out`.
    pub fn run(
        &self,
        kernels: Kernels,
        x: &[f32],
        quantized: &Activations,
        epilogue: Epilogue,
        out: &mut [f32],
    ) {
        match self {
            Dense::Int8(linear) => kernels.linear(linear, quantized, epilogue, out),
            Dense::Float(linear) => kernels.float_linear(linear, x, epilogue, out),
        }
    }
}

/// Packs linear layers, and calls `release` with the weights that it has copied.
pub(super) struct Packer<'a> {
    kernels: Kernels,
    /// Memory for int8 weights.
    arena: Arena,
    release: &'a dyn Fn(&[u8]),
    /// Scratch buffer in which matrices are joined, reused for each layer.
    joined: Vec<u8>,
}

impl<'a> Packer<'a> {
    /// Returns a packer with memory for `bytes` of int8 weights, as [`Linear::room`] counts them.
    pub fn new(kernels: Kernels, bytes: usize, release: &'a dyn Fn(&[u8])) -> Self {
        Packer { kernels, arena: Arena::new(bytes), release, joined: Vec::new() }
    }

    /// Packs linear layers with the same inputs and precision side by side into one.
    pub fn dense(&mut self, parts: &[LinearParts<'_>]) -> Result<Dense, KernelError> {
        let inputs = parts[0].inputs;
        let outputs: usize = parts.iter().map(|p| p.outputs).sum();
        let scales: Vec<f32> = parts.iter().flat_map(|p| p.scales.iter().flatten().copied()).collect();
        let bias: Vec<f32> = parts.iter().flat_map(|p| p.bias.iter().copied()).collect();
        let weights = match parts {
            [part] => part.weights,
            _ => side_by_side(parts, &mut self.joined),
        };
        let dense = if parts[0].scales.is_some() {
            let weights = Weights::from_bytes(weights, inputs, outputs)?;
            Dense::Int8(Linear::pack_in(&mut self.arena, self.kernels, weights, &scales, &bias)?)
        } else {
            Dense::Float(FloatLinear::pack(halves(weights), inputs, outputs, &bias)?)
        };
        parts.iter().for_each(|p| (self.release)(p.weights));
        Ok(dense)
    }
}

/// Joins the weights of several parts, row by row.
fn side_by_side<'a>(parts: &[LinearParts<'_>], joined: &'a mut Vec<u8>) -> &'a [u8] {
    joined.clear();
    joined.reserve_exact(parts.iter().map(|p| p.weights.len()).sum());
    for i in 0..parts[0].inputs {
        for part in parts {
            let row = part.weights.len() / part.inputs;
            joined.extend_from_slice(&part.weights[i * row..][..row]);
        }
    }
    joined
}
