//! Weights as the kernels read them.

use crate::kernels::{Arena, KernelError, Kernels, Linear};
use crate::model::dense::Packer;
use crate::model::recognise::{EmbeddingParts, LayerParts, LinearParts, Parts};

use super::{Bert, Embeddings, Layer};

impl Bert {
    /// Packs the parts for `kernels`, and tells of weights that it has a copy of.
    pub fn pack(kernels: Kernels, parts: Parts<'_>, release: &dyn Fn(&[u8])) -> Result<Bert, KernelError> {
        let arena = Arena::new(Self::room(kernels, &parts));
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

impl Bert {
    /// Bytes of all packed int8 weights.
    pub fn room(kernels: Kernels, parts: &Parts<'_>) -> usize {
        let joined = |parts: &[&LinearParts<'_>]| match parts[0].scales {
            Some(_) => Linear::room(kernels, parts[0].inputs, parts.iter().map(|p| p.outputs).sum()),
            None => 0,
        };
        let layer = |l: &LayerParts<'_>| {
            let alone = [&l.query, &l.attention_output, &l.intermediate, &l.output];
            joined(&[&l.key, &l.value]) + alone.map(|part| joined(&[part])).iter().sum::<usize>()
        };
        let ends = parts.embeddings.projection.iter().chain([&parts.pooler, &parts.classifier]);
        parts.layers.iter().map(layer).sum::<usize>() + ends.map(|part| joined(&[part])).sum::<usize>()
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
