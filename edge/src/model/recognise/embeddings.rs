//! The embeddings of a BERT classifier: words, token types and positions, and their LayerNorm.

use bytes::Bytes;
use tract_onnx::pb::tensor_proto::DataType;

use super::super::graph::{Found, Graph, attribute, expect, inputs};
use super::super::stock::Feed;
use super::{LinearParts, NormParts};

/// The embedding tables, and what follows the lookup.
pub(in super::super) struct EmbeddingParts<'a> {
    /// Int8 [vocabulary, width], or two integers per byte: [vocabulary, width / 2].
    pub words: Bytes,
    /// Whether `words` has two integers per byte.
    pub packed: bool,
    /// f32 [vocabulary].
    pub word_scales: Bytes,
    /// Bytes of `words` and `word_scales` that are copies.
    pub copied: usize,
    pub width: usize,
    /// Projects from the width of `words` to the hidden size, for factorised embeddings.
    pub projection: Option<LinearParts<'a>>,
    /// f32 [types, hidden].
    pub types: Vec<f32>,
    /// f32 [positions, hidden], little-endian.
    pub positions: Bytes,
    pub norm: NormParts,
}

/// A table of integers, its scales, and the ids that are looked up in both.
struct Lookup<'a> {
    table: &'a str,
    packed: bool,
    scales: &'a str,
    ids: &'a str,
}

impl<'a> Graph<'a> {
    /// Returns the embeddings that make `x`, or `None` if a layer makes it.
    pub(super) fn embeddings(&self, x: &str, hidden: usize) -> Found<Option<EmbeddingParts<'a>>> {
        let (norm, sum) = self.layer_norm(x, hidden)?;
        let [sum, positions] = self.inputs(sum, "Add")?;
        if !self.is(positions, "Slice") {
            return Ok(None);
        }
        let [words, types] = self.inputs(sum, "Add")?;
        let (projection, rows) = match self.is(words, "Mul") && self.lookup(words).is_ok() {
            true => (None, words),
            false => self.linear(words).map(|(linear, rows)| (Some(linear), rows))?,
        };
        let Lookup { table, packed, scales, ids } = self.lookup(rows)?;
        let (vocabulary, mut width) = self.matrix(table)?;
        width *= if packed { 2 } else { 1 };
        expect(self.matrix(scales)? == (vocabulary, 1), || format!("`{scales}` is not one scale per piece"))?;
        self.finite(scales, vocabulary)?;
        let projection = projection.map(|p| p.sized(width, hidden)).transpose()?;
        expect(projection.is_some() || width == hidden, || format!("`{table}` is not {hidden} wide"))?;

        let [type_table, type_ids] = self.rows(types)?;
        self.is_input(type_ids, Feed::Types)?;
        let (type_count, type_width) = self.matrix(type_table)?;
        let positions = self.positions(positions, ids, hidden)?;
        expect(type_width == hidden, || format!("`{type_table}` is not {hidden} wide"))?;
        let words = self.shared(table, if packed { DataType::Uint8 } else { DataType::Int8 })?;
        let word_scales = self.shared(scales, DataType::Float)?;
        let copied =
            [(table, &words), (scales, &word_scales)].into_iter().filter(|(name, _)| !self.is_external(name));
        Ok(Some(EmbeddingParts {
            copied: copied.map(|(_, bytes)| bytes.len()).sum(),
            words,
            packed,
            word_scales,
            width,
            projection,
            types: self.floats(type_table, type_count * hidden)?,
            positions,
            norm,
        }))
    }

    /// Matches `table[ids] * scales[ids]`.
    fn lookup(&self, value: &str) -> Found<Lookup<'a>> {
        let [row, scale] = self.inputs(value, "Mul")?;
        let (row, packed) = match self.cast(row, DataType::Float) {
            Ok(row) => (row, false),
            Err(_) => (self.unpacked(row)?, true),
        };
        let [table, ids] = self.rows(row)?;
        let [scales, same] = self.rows(scale)?;
        expect(ids == same, || format!("`{value}` looks up different ids in its tables"))?;
        self.is_input(ids, Feed::Ids)?;
        Ok(Lookup { table, packed, scales, ids })
    }

    /// Matches `table[ids]` and returns both.
    fn rows(&self, value: &str) -> Found<[&'a str; 2]> {
        let node = self.maker(value, "Gather")?;
        let rows = attribute(node, "axis").is_none_or(|a| a.i == 0);
        expect(rows, || format!("Gather `{value}` is not of rows"))?;
        inputs(node)
    }

    /// Matches rows of bytes that are unpacked into their low halves, then their high halves, each minus 8.
    /// Returns the rows of bytes.
    fn unpacked(&self, value: &str) -> Found<&'a str> {
        let [halves, eight] = self.inputs(value, "Sub")?;
        let last = attribute(self.maker(halves, "Concat")?, "axis").is_some_and(|a| a.i == -1);
        let [low, high] = self.inputs(halves, "Concat")?;
        let [row, cleared] = self.inputs(low, "Sub")?;
        let shifted = self.with_scalar(self.unary(high, "Floor")?, "Mul", 0.0625)?;
        let right = shifted == row && self.with_scalar(cleared, "Mul", 16.0) == Ok(high);
        let right = right && last && self.scalar(eight) == Ok(8.0);
        expect(right, || format!("`{value}` does not unpack bytes"))?;
        self.cast(row, DataType::Float)
    }

    /// Matches `table[0 .. length of ids]` and returns the table, f32 [positions, hidden].
    fn positions(&self, value: &str, ids: &str, hidden: usize) -> Found<Bytes> {
        let [table, start, length, axis] = self.inputs(value, "Slice")?;
        let [shape, from, to] = self.inputs(length, "Slice")?;
        let constants = [(start, 0), (axis, 0), (from, 1), (to, 2)];
        let right = constants.iter().all(|&(name, n)| self.integers(name).is_ok_and(|v| v == [n]));
        let right = right && self.unary(shape, "Shape") == Ok(ids);
        expect(right, || format!("`{value}` is not one position per token"))?;
        let wide = |width| expect(width == hidden, || format!("`{table}` is not {hidden} wide"));
        if !self.is(table, "Mul") {
            let (rows, width) = self.matrix(table)?;
            wide(width)?;
            self.finite(table, rows * hidden)?;
            return self.shared(table, DataType::Float);
        }
        let [integers, scales] = self.inputs(table, "Mul")?;
        let integers = self.cast(integers, DataType::Float)?;
        let (rows, width) = self.matrix(integers)?;
        wide(width)?;
        expect(self.matrix(scales)? == (rows, 1), || format!("`{scales}` is not one scale per position"))?;
        let (integers, scales) = (self.bytes(integers, DataType::Int8)?, self.floats(scales, rows)?);
        let mut bytes = Vec::with_capacity(4 * integers.len());
        for (row, scale) in integers.chunks_exact(hidden).zip(&scales) {
            row.iter().for_each(|&b| bytes.extend_from_slice(&(f32::from(b as i8) * scale).to_le_bytes()));
        }
        Ok(bytes.into())
    }
}
