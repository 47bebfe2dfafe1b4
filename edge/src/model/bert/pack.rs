//! Packs weights for the kernels.

use crate::kernels::{KernelError, Kernels, Linear};
use crate::model::recognise::{EmbeddingParts, LayerParts, LinearParts, Parts};

use super::dense::Packer;
use super::{Bert, Embeddings, Layer};

impl Bert {
    /// Packs the parts for `kernels`, the int8 weights into one arena of `int8` bytes, and calls `release` with the
    /// weights that it has copied.
    pub fn pack(
        kernels: Kernels,
        parts: Parts<'_>,
        int8: usize,
        release: &dyn Fn(&[u8]),
    ) -> Result<Bert, KernelError> {
        let mut packer = Packer::new(kernels, int8, release);
        let EmbeddingParts { words, packed, word_scales, copied, width, projection, types, positions, norm } =
            parts.embeddings;
        Ok(Bert {
            kernels,
            hidden: parts.hidden,
            layers: parts
                .layers
                .into_iter()
                .map(|parts| layer(&mut packer, parts))
                .collect::<Result<_, _>>()?,
            embeddings: Embeddings {
                words,
                copied,
                packed,
                word_scales,
                width,
                projection: projection.map(|p| packer.dense(&[p])).transpose()?,
                types,
                positions,
                norm,
            },
            pooler: packer.dense(&[parts.pooler])?,
            classifier: packer.dense(&[parts.classifier])?,
        })
    }
}

/// Size of packed weights in bytes.
pub struct Room {
    /// Int8 weights, which share one arena.
    pub int8: usize,
    /// The most that all weights take on any processor.
    pub most: usize,
    /// The number of weights.
    pub weights: usize,
}

impl Bert {
    /// Returns the size of all weights once they are packed. Layers that share weights are packed separately.
    pub fn room(kernels: Kernels, parts: &Parts<'_>) -> Room {
        /// No processor has tiles of more inputs or outputs.
        const TILE: usize = 64;
        let mut room = Room { int8: 0, most: 0, weights: 0 };
        let mut joined = |parts: &[&LinearParts<'_>]| {
            let (inputs, outputs) = (parts[0].inputs, parts.iter().map(|p| p.outputs).sum());
            room.weights = room.weights.saturating_add(inputs * outputs);
            let int8 = parts[0].scales.is_some();
            // half precision is unpacked to f32, each layer in memory of its own
            let bytes = if int8 { size_of::<i8>() } else { size_of::<f32>() };
            room.most = room.most.saturating_add((inputs + TILE) * (outputs + TILE) * bytes);
            room.int8 += if int8 { Linear::room(kernels, inputs, outputs) } else { 0 };
        };
        for layer in &parts.layers {
            joined(&[&layer.key, &layer.value]);
            let alone = [&layer.query, &layer.attention_output, &layer.intermediate, &layer.output];
            alone.iter().for_each(|part| joined(&[part]));
        }
        let ends = parts.embeddings.projection.iter().chain([&parts.pooler, &parts.classifier]);
        ends.for_each(|part| joined(&[part]));
        room
    }
}

fn layer(packer: &mut Packer<'_>, parts: LayerParts<'_>) -> Result<Layer, KernelError> {
    Ok(Layer {
        heads: parts.heads,
        head_size: parts.head_size,
        scale: parts.scale,
        query: packer.dense(&[parts.query])?,
        key_value: packer.dense(&[parts.key, parts.value])?,
        attention_output: packer.dense(&[parts.attention_output])?,
        attention_norm: parts.attention_norm,
        intermediate: packer.dense(&[parts.intermediate])?,
        output: packer.dense(&[parts.output])?,
        output_norm: parts.output_norm,
    })
}
