//! A BERT classifier on the int8 kernels: weights packed once, one text at a time, no allocation per text.
//!
//! Outside attention everything is local to a token, so tokens go through a layer in blocks: only the hidden
//! states, queries, keys, values and contexts are as long as the text. The last layer computes attention for
//! [CLS] only, because the pooler reads nothing else.

mod dense;
mod pack;
mod scratch;

use std::ops::Range;

use bytes::Bytes;

use crate::kernels::{Activations, AttentionInput, Epilogue, Kernels, Norm, Rows};

use super::graph::floats;
use super::recognise::NormParts;
use super::{Error, Tables};
use dense::Dense;
use scratch::Block;
pub(super) use scratch::Scratch;

/// Maximum number of tokens that go through a layer's linear parts together.
const BLOCK: usize = 64;

/// The packed classifier.
pub(super) struct Bert {
    kernels: Kernels,
    hidden: usize,
    embeddings: Embeddings,
    layers: Vec<Layer>,
    pooler: Dense,
    classifier: Dense,
}

struct Embeddings {
    /// Int8 [vocabulary, width], or two integers per byte, in place in the bundle if possible.
    words: Bytes,
    /// Bytes of `words` and `word_scales` that are copies.
    copied: usize,
    packed: bool,
    /// f32 [vocabulary].
    word_scales: Bytes,
    width: usize,
    projection: Option<Dense>,
    /// f32 [types, hidden].
    types: Vec<f32>,
    /// f32 [positions, hidden], in place in the bundle unless that holds integers.
    positions: Bytes,
    norm: NormParts,
}

struct Layer {
    heads: usize,
    head_size: usize,
    scale: f32,
    query: Dense,
    /// Its outputs are keys, then values.
    key_value: Dense,
    attention_output: Dense,
    attention_norm: NormParts,
    intermediate: Dense,
    output: Dense,
    output_norm: NormParts,
}

impl Embeddings {
    /// Writes the rows of word pieces to `to`, `width` floats each. `integers` is scratch for one row.
    fn look_up(&self, kernels: Kernels, ids: &[u32], integers: &mut [i8], to: &mut [f32]) {
        for (&id, to) in ids.iter().zip(to.chunks_exact_mut(self.width)) {
            let id = id as usize;
            self.integers(id, integers);
            for scale in floats(&self.word_scales[4 * id..][..4]) {
                kernels.dequantize_row(integers, scale, to);
            }
        }
    }

    /// Writes the integers of a word piece to `to`.
    fn integers(&self, id: usize, to: &mut [i8]) {
        if !self.packed {
            to.iter_mut().zip(&self.words[id * self.width..]).for_each(|(to, &b)| *to = b as i8);
            return;
        }
        let half = self.width / 2;
        let (low, high) = to.split_at_mut(half);
        for ((low, high), b) in low.iter_mut().zip(high).zip(&self.words[id * half..]) {
            (*low, *high) = ((b & 15) as i8 - 8, (b >> 4) as i8 - 8);
        }
    }
}

impl Layer {
    /// Returns the width of queries, keys and values.
    fn width(&self) -> usize {
        self.heads * self.head_size
    }
}

impl Bert {
    /// Returns the number of logits per text.
    pub fn classes(&self) -> usize {
        self.classifier.outputs()
    }

    /// Returns the number of rows of the position table: the maximum sequence length.
    pub fn positions(&self) -> usize {
        self.embeddings.positions.len() / 4 / self.hidden
    }

    /// Returns the number of pieces in the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.embeddings.word_scales.len() / 4
    }

    /// Returns the number of encoder layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Returns the number of floats that the keys and values of a token take in the widest layer.
    pub fn key_values(&self) -> usize {
        self.layers.iter().map(|l| 2 * l.width()).max().unwrap_or(0)
    }

    /// Returns the kernels that the weights were packed for.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Returns the size of packed weights and tables in bytes, without the word table unless it was copied.
    pub fn bytes(&self) -> usize {
        let matrices = self.dense().map(Dense::bytes).sum::<usize>();
        let tables =
            4 * self.embeddings.types.len() + self.embeddings.positions.len() + self.embeddings.copied;
        matrices + (2 * self.layers.len() + 1) * 8 * self.hidden + tables
    }

    /// Returns the additional memory while packing, in bytes: the matrix that is read, and a copy of it if it
    /// is joined with another.
    pub fn loading(&self) -> usize {
        2 * self.dense().map(Dense::copied).max().unwrap_or(0)
    }

    /// Returns the numbers of rows of the embedding tables.
    pub fn tables(&self) -> Tables {
        let types = self.embeddings.types.len() / self.hidden;
        Tables { pieces: self.vocabulary(), types, positions: self.positions() }
    }

    /// Returns the size of the bundle's matrices that were copied, in bytes.
    pub fn copied(&self) -> usize {
        self.dense().map(Dense::copied).sum()
    }

    /// Returns how many linear layers are not int8. Keys and values count as one.
    pub fn floats(&self) -> usize {
        self.dense().filter(|dense| matches!(dense, Dense::Float(_))).count()
    }

    /// Returns all linear layers.
    fn dense(&self) -> impl Iterator<Item = &Dense> {
        fn layer(l: &Layer) -> [&Dense; 5] {
            [&l.query, &l.key_value, &l.attention_output, &l.intermediate, &l.output]
        }
        let ends = [&self.pooler, &self.classifier];
        self.embeddings.projection.iter().chain(self.layers.iter().flat_map(layer)).chain(ends)
    }

    /// Fails unless every id has a row in its table.
    pub fn check(&self, ids: &[u32], types: &[u8]) -> Result<(), Error> {
        let Tables { pieces: vocabulary, types: rows, .. } = self.tables();
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(Error::TokenId { id, vocabulary });
        }
        match types.iter().find(|&&id| usize::from(id) >= rows) {
            Some(&id) => Err(Error::TypeId { id, types: rows }),
            None => Ok(()),
        }
    }

    /// Computes the logits of a text that has passed [`check`](Bert::check) and fits into `scratch`.
    pub fn run(&self, ids: &[u32], types: &[u8], scratch: &mut Scratch, logits: &mut [f32]) {
        self.run_part(ids, types, 0..ids.len(), scratch, logits, |_, _, _| {});
    }

    /// Like [`run`](Bert::run), for the tokens of `own` only; the owner of token 0 writes the logits. Before
    /// each attention it calls `gather(layer, width, keys_and_values)` with the rows of `own` filled in,
    /// which must fill in all others.
    pub fn run_part(
        &self,
        ids: &[u32],
        types: &[u8],
        own: Range<usize>,
        scratch: &mut Scratch,
        logits: &mut [f32],
        mut gather: impl FnMut(usize, usize, &mut [f32]),
    ) {
        let Scratch { x, queries, key_values, context, attention, block } = scratch;
        let tokens = ids.len();
        let waits = self.waits_for_weights(own.len());
        let before = |next: &Dense| if waits { next.fetched_by(self.kernels) } else { self.kernels };
        for part in blocks(own.clone()) {
            let x = &mut x[rows(&part, self.hidden)];
            self.embed(&ids[part.clone()], &types[part.clone()], part.start, x, block);
            self.project(0, &before, &part, x, &block.quantized, [queries, key_values]);
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let width = layer.width();
            let stride = 2 * width;
            gather(i, stride, &mut key_values[..tokens * stride]);
            let wanted = own.start..own.end.min(self.queries(i, tokens));
            if wanted.is_empty() {
                return;
            }
            let input = AttentionInput {
                queries: Rows { data: &queries[rows(&wanted, width)], stride: width },
                keys: Rows { data: key_values, stride },
                values: Rows { data: &key_values[width..], stride },
                query_count: wanted.len(),
                key_count: tokens,
                heads: layer.heads,
                head_size: layer.head_size,
                scale: layer.scale,
            };
            let context_of = &mut context[rows(&wanted, width)];
            before(&layer.attention_output).attention(&input, attention, context_of);
            for part in blocks(wanted) {
                let x = &mut x[rows(&part, self.hidden)];
                let next = self.layers.get(i + 1).map_or(&self.pooler, |next| &next.query);
                layer.finish(&before, next, &context[rows(&part, width)], x, block);
                if i + 1 < self.layers.len() {
                    self.project(i + 1, &before, &part, x, &block.quantized, [queries, key_values]);
                }
            }
        }
        // the block now holds only [CLS]
        let (kernels, Block { quantized, y, .. }) = (self.kernels, block);
        let pooled = &mut y[..self.pooler.outputs()];
        self.pooler.run(kernels, &x[..self.hidden], quantized, Epilogue::None, pooled);
        kernels.tanh(pooled);
        kernels.quantize_rows(pooled, pooled.len(), quantized);
        self.classifier.run(kernels, pooled, quantized, Epilogue::None, logits);
    }

    /// Returns the output of the last layer for the first token in the last [`run`](Bert::run).
    pub fn cls<'a>(&self, scratch: &'a Scratch) -> &'a [f32] {
        &scratch.x[..self.hidden]
    }

    /// Computes words + types + positions, normalized into `x` and quantized into the block. The first token
    /// is at position `from`.
    fn embed(&self, ids: &[u32], types: &[u8], from: usize, x: &mut [f32], block: &mut Block) {
        let (kernels, hidden, e) = (self.kernels, self.hidden, &self.embeddings);
        let Block { quantized, wide, row, int8_row, .. } = block;
        match &e.projection {
            Some(projection) => {
                let words = &mut wide[..ids.len() * e.width];
                e.look_up(kernels, ids, int8_row, words);
                kernels.quantize_rows(words, e.width, quantized);
                projection.run(kernels, words, quantized, Epilogue::None, x);
            }
            None => e.look_up(kernels, ids, int8_row, x),
        }
        for (i, (&id, x)) in types.iter().zip(x.chunks_exact_mut(hidden)).enumerate() {
            kernels.add(x, &e.types[usize::from(id) * hidden..][..hidden]);
            for (to, v) in row.iter_mut().zip(floats(&e.positions[4 * hidden * (from + i)..])) {
                *to = v;
            }
            kernels.add(x, row);
        }
        kernels.layer_norm(x, None, &e.norm.borrow(), Some(quantized));
    }

    /// Returns whether linear layers wait for weights if applied to this many tokens: there are few, and more
    /// weights than a second-level cache holds.
    fn waits_for_weights(&self, tokens: usize) -> bool {
        tokens <= 16 && self.dense().map(Dense::bytes).sum::<usize>() > 2 << 20
    }

    /// Computes queries, keys and values of layer `i` for the tokens of `part`, which
    /// `x` and `quantized` hold. `before` returns the kernels for what precedes a linear layer.
    fn project(
        &self,
        i: usize,
        before: &impl Fn(&Dense) -> Kernels,
        part: &Range<usize>,
        x: &[f32],
        quantized: &Activations,
        [queries, key_values]: [&mut [f32]; 2],
    ) {
        let layer = &self.layers[i];
        let wanted = part.start..part.end.min(self.queries(i, part.end));
        if !wanted.is_empty() {
            let queries = &mut queries[rows(&wanted, layer.width())];
            layer.query.run(before(&layer.key_value), x, quantized, Epilogue::None, queries);
        }
        let key_values = &mut key_values[rows(part, 2 * layer.width())];
        layer.key_value.run(before(&layer.attention_output), x, quantized, Epilogue::None, key_values);
    }

    /// Returns the number of queries in layer `i`: one per token, in the last layer only that of [CLS].
    fn queries(&self, i: usize, tokens: usize) -> usize {
        if i + 1 == self.layers.len() { 1 } else { tokens }
    }
}

impl Layer {
    /// Computes the output of the layer from the contexts of attention, into `x` and
    /// quantized into the block. `before` returns the kernels for what precedes a linear layer; `next` is the
    /// one after this layer.
    fn finish(
        &self,
        before: &impl Fn(&Dense) -> Kernels,
        next: &Dense,
        context: &[f32],
        x: &mut [f32],
        block: &mut Block,
    ) {
        let Block { quantized, y, wide, .. } = block;
        let tokens = context.len() / self.width();
        let y = &mut y[..x.len()];
        let wide = &mut wide[..tokens * self.intermediate.outputs()];
        let (before_intermediate, before_output) = (before(&self.intermediate), before(&self.output));
        let before_next = before(next);
        before(&self.attention_output).quantize_rows(context, self.width(), quantized);
        self.attention_output.run(before_intermediate, context, quantized, Epilogue::None, y);
        before_intermediate.layer_norm(x, Some(y), &self.attention_norm.borrow(), Some(quantized));
        self.intermediate.run(before_output, x, quantized, Epilogue::Gelu, wide);
        before_output.quantize_rows(wide, self.intermediate.outputs(), quantized);
        self.output.run(before_next, wide, quantized, Epilogue::None, y);
        before_next.layer_norm(x, Some(y), &self.output_norm.borrow(), Some(quantized));
    }
}

impl NormParts {
    fn borrow(&self) -> Norm<'_> {
        Norm { gamma: &self.gamma, beta: &self.beta, epsilon: self.epsilon }
    }
}

/// Splits tokens into blocks of about equal size: a small last block would read all weights for little work.
fn blocks(tokens: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let size = tokens.len().div_ceil(tokens.len().div_ceil(BLOCK).max(1)).max(1);
    let end = tokens.end;
    tokens.step_by(size).map(move |from| from..end.min(from + size))
}

/// Returns the range of the rows of `part` in a matrix of this width.
fn rows(part: &Range<usize>, width: usize) -> Range<usize> {
    part.start * width..part.end * width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_contiguous_and_of_about_equal_size() {
        for (start, tokens) in (0..=300).flat_map(|tokens| [(0, tokens), (17, tokens)]) {
            let all: Vec<_> = blocks(start..start + tokens).collect();
            assert_eq!(all.len(), tokens.div_ceil(BLOCK));
            assert!(all.windows(2).all(|two| two[0].end == two[1].start));
            assert!(all.first().is_none_or(|first| first.start == start));
            assert!(all.last().is_none_or(|last| last.end == start + tokens));
            let (least, most) = (all.iter().map(Range::len).min(), all.iter().map(Range::len).max());
            assert!(
                most <= Some(BLOCK) && most.unwrap_or(0) - least.unwrap_or(0) < all.len().max(1),
                "{all:?}"
            );
        }
    }
}
