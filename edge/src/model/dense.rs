//! Linear layers of the classifier, packed once: int8, or f32 where the bundle keeps a matrix in half precision.

use crate::kernels::{Activations, Epilogue, FloatLinear, KernelError, Kernels, Linear, Weights};

use super::graph::halves;
use super::recognise::LinearParts;

/// A packed linear layer.
pub(super) enum Dense {
    Int8(Linear),
    Float(FloatLinear),
}

impl Dense {
    /// Outputs, n.
    pub fn outputs(&self) -> usize {
        match self {
            Dense::Int8(linear) => linear.outputs(),
            Dense::Float(linear) => linear.outputs(),
        }
    }

    /// Bytes it holds on the heap.
    pub fn bytes(&self) -> usize {
        match self {
            Dense::Int8(linear) => linear.bytes(),
            Dense::Float(linear) => linear.bytes(),
        }
    }

    /// Bytes of the weights in the bundle that it is a copy of.
    pub fn copied(&self) -> usize {
        match self {
            Dense::Int8(linear) => linear.inputs() * linear.outputs(),
            Dense::Float(linear) => 2 * linear.inputs() * linear.outputs(),
        }
    }

    /// Rows of `x`, which `quantized` holds as well, through the layer into `out`, as many as it holds.
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

/// Packs linear layers, and tells of weights that it has a copy of.
pub(super) struct Packer<'a> {
    pub kernels: Kernels,
    pub release: &'a dyn Fn(&[u8]),
}

impl Packer<'_> {
    /// Packs linear layers of the same inputs and precision side by side into one.
    pub fn dense(&self, parts: &[LinearParts<'_>]) -> Result<Dense, KernelError> {
        let inputs = parts[0].inputs;
        let outputs: usize = parts.iter().map(|p| p.outputs).sum();
        let scales: Vec<f32> = parts.iter().flat_map(|p| p.scales.iter().flatten().copied()).collect();
        let bias: Vec<f32> = parts.iter().flat_map(|p| p.bias.iter().copied()).collect();
        let weights = side_by_side(parts);
        let weights = weights.as_deref().unwrap_or(parts[0].weights);
        let dense = if parts[0].scales.is_some() {
            let weights = Weights::from_bytes(weights, inputs, outputs)?;
            Dense::Int8(Linear::pack(self.kernels, weights, &scales, &bias)?)
        } else {
            Dense::Float(FloatLinear::pack(halves(weights), inputs, outputs, &bias)?)
        };
        parts.iter().for_each(|p| (self.release)(p.weights));
        Ok(dense)
    }
}

/// The weights of several parts, row by row; of a single one they lie there already.
fn side_by_side(parts: &[LinearParts<'_>]) -> Option<Vec<u8>> {
    if parts.len() == 1 {
        return None;
    }
    let mut joined = Vec::with_capacity(parts.iter().map(|p| p.weights.len()).sum());
    for i in 0..parts[0].inputs {
        for part in parts {
            let row = part.weights.len() / part.inputs;
            joined.extend_from_slice(&part.weights[i * row..][..row]);
        }
    }
    Some(joined)
}
