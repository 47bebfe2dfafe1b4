//! Weights as the kernels read them.

use crate::kernels::{Arena, FloatLinear, KernelError, Kernels, Linear};
use crate::model::dense::Packer;
use crate::model::recognise::{EmbeddingParts, LayerParts, LinearParts, Parts};

use super::{Bert, Embeddings, Layer};

impl Bert {
    /// Packs the parts for `kernels`, and tells of weights that it has a copy of.
    pub fn pack(kernels: Kernels, parts: Parts<'_>, release: &dyn Fn(&[u8])) -> Result<Bert, KernelError> {
        let arena = Arena::new(Self::room(kernels, &parts).int8);
        let packer = Packer::new(kernels, &arena, release);
        let EmbeddingParts { words, packed, word_scales, copied, width, projection, types, positions, norm } =
            parts.embeddings;
        Ok(Bert {
            kernels,
            hidden: parts.hidden,
            layers: parts.layers.into_iter().map(|parts| layer(&packer, parts)).collect::<Result<_, _>>()?,
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

/// Bytes of packed weights.
pub struct Room {
    /// Those in int8, which lie together.
    pub int8: usize,
    /// Those that were in half precision, each by itself.
    pub wide: usize,
}

impl Bert {
    /// What all weights take once they are packed. Layers may share weights, and each is packed by itself.
    pub fn room(kernels: Kernels, parts: &Parts<'_>) -> Room {
        let mut room = Room { int8: 0, wide: 0 };
        let mut joined = |parts: &[&LinearParts<'_>]| {
            let (inputs, outputs) = (parts[0].inputs, parts.iter().map(|p| p.outputs).sum());
            match parts[0].scales {
                Some(_) => room.int8 += Linear::room(kernels, inputs, outputs),
                None => room.wide += FloatLinear::room(inputs, outputs),
            }
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

fn layer(packer: &Packer<'_>, parts: LayerParts<'_>) -> Result<Layer, KernelError> {
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
