//! Scratch buffers, allocated once for the longest text.

use crate::kernels::{Activations, AttentionScratch};

use super::{BLOCK, Bert, Layer};

/// Scratch buffers for texts of up to `max_tokens`.
pub struct Scratch {
    /// Hidden states [tokens, hidden].
    pub x: Vec<f32>,
    /// Queries [tokens, width].
    pub queries: Vec<f32>,
    /// Keys, then values [tokens, 2 * width].
    pub key_values: Vec<f32>,
    /// Output of attention [tokens, width].
    pub context: Vec<f32>,
    pub attention: AttentionScratch,
    pub block: Block,
}

/// Scratch buffers for [`BLOCK`] tokens.
pub struct Block {
    pub quantized: Activations,
    /// Output of a linear layer [tokens, hidden].
    pub y: Vec<f32>,
    /// Feed-forward [tokens, intermediate], or factorised embeddings [tokens, rank].
    pub wide: Vec<f32>,
    /// One row of a table.
    pub row: Vec<f32>,
    pub int8_row: Vec<i8>,
}

impl Scratch {
    /// Returns the heap memory in bytes.
    pub fn bytes(&self) -> usize {
        let Scratch { x, queries, key_values, context, attention, block } = self;
        let floats = [x, queries, key_values, context, &block.y, &block.wide, &block.row];
        let floats: usize = floats.iter().map(|v| 4 * v.len()).sum();
        floats + attention.bytes() + block.quantized.bytes() + block.int8_row.len()
    }
}

impl Bert {
    /// Allocates scratch buffers for texts of up to `max_tokens`.
    pub fn scratch(&self, max_tokens: usize) -> Scratch {
        let most = |size: fn(&Layer) -> usize| self.layers.iter().map(size).max().unwrap_or(0);
        let width = most(Layer::width);
        let wide = most(|l| l.intermediate.outputs()).max(self.embeddings.width);
        let block = BLOCK.min(max_tokens);
        Scratch {
            x: vec![0.0; max_tokens * self.hidden],
            queries: vec![0.0; max_tokens * width],
            key_values: vec![0.0; max_tokens * 2 * width],
            context: vec![0.0; max_tokens * width],
            attention: AttentionScratch::new(max_tokens, most(|l| l.head_size)),
            block: Block {
                quantized: Activations::new(self.kernels, block, wide.max(width).max(self.hidden)),
                y: vec![0.0; block * self.hidden],
                wide: vec![0.0; block * wide],
                row: vec![0.0; self.hidden],
                int8_row: vec![0; self.embeddings.width],
            },
        }
    }
}
