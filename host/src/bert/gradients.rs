use super::ops::{Slot, vectorized};
use super::{Array, WORD_EMBEDDINGS};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Gradients of all weights, summed over one or more batches.
///
/// Allocated once and cleared for each step. For the word embeddings, only the rows that occurred are stored.
#[derive(Debug, Clone)]
pub struct Gradients {
    dense: BTreeMap<String, Dense>,
    /// Offset in `values` of each word embedding row.
    rows: BTreeMap<u32, usize>,
    values: Vec<f32>,
    /// Width of a word embedding row.
    width: usize,
}

#[derive(Debug, Clone)]
struct Dense {
    values: Vec<f32>,
    /// Whether it holds a gradient since the last clear.
    filled: bool,
}

/// Number of values that one parallel task squares.
const CHUNK: usize = 65_536;

impl Gradients {
    /// Allocates gradients for these weights, initially empty.
    pub fn new(weights: &BTreeMap<String, Array>) -> Self {
        let dense = weights.iter().filter(|(name, _)| *name != WORD_EMBEDDINGS);
        Self {
            dense: dense
                .map(|(name, w)| (name.clone(), Dense { values: vec![0.0; w.data.len()], filled: false }))
                .collect(),
            rows: BTreeMap::new(),
            values: Vec::new(),
            width: weights.get(WORD_EMBEDDINGS).map_or(0, |table| table.dims2().1),
        }
    }

    /// Clears all gradients; the memory is kept.
    pub fn clear(&mut self) {
        self.dense.values_mut().for_each(|d| d.filled = false);
        self.rows.clear();
        self.values.clear();
    }

    /// Returns the gradient of a weight other than the word embeddings, or `None` if it has none.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.dense.get(name).filter(|d| d.filled).map(|d| d.values.as_slice())
    }

    /// Returns the rows of the word embeddings that have a gradient, by ascending id.
    pub fn rows(&self) -> impl Iterator<Item = (u32, &[f32])> {
        self.rows.iter().map(|(id, at)| (*id, &self.values[*at..][..self.width]))
    }

    /// Returns the slot for the gradient of a weight.
    ///
    /// # Panics
    /// If there is no such weight.
    pub fn slot(&mut self, name: &str) -> Slot<'_> {
        self.dense.get_mut(name).unwrap_or_else(|| panic!("no weight {name}")).slot()
    }

    /// Returns the slots for the gradients of `name.weight` and `name.bias`.
    pub(super) fn pair(&mut self, name: &str) -> [Slot<'_>; 2] {
        // no other key sorts between these two
        let mut both = self.dense.range_mut(format!("{name}.bias")..=format!("{name}.weight"));
        let mut next = || both.next().unwrap_or_else(|| panic!("no weight and bias of {name}")).1.slot();
        let bias = next();
        [next(), bias]
    }

    /// Adds gradients to rows `ids` of the word embeddings: g [ids, width].
    pub fn add_rows(&mut self, ids: &[u32], g: &[f32]) {
        for (id, g) in ids.iter().zip(g.chunks_exact(self.width)) {
            let end = self.values.len();
            let at = *self.rows.entry(*id).or_insert(end);
            if at == end {
                self.values.extend_from_slice(g);
            } else {
                self.values[at..].iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
            }
        }
    }

    /// Returns the Euclidean norm of all gradients together.
    pub fn norm(&self) -> f64 {
        let mut squares: f64 = self.rows().map(|(_, row)| sum_of_squares(row)).sum();
        for dense in self.dense.values().filter(|d| d.filled) {
            let parts = dense.values.par_chunks(CHUNK).map(|g| vectorized!(|| sum_of_squares(g)));
            // summed in a fixed order, whatever the number of threads
            squares += parts.collect::<Vec<f64>>().iter().sum::<f64>();
        }
        squares.sqrt()
    }
}

impl Dense {
    fn slot(&mut self) -> Slot<'_> {
        let add = std::mem::replace(&mut self.filled, true);
        Slot { values: &mut self.values, add }
    }
}

#[inline(always)]
fn sum_of_squares(x: &[f32]) -> f64 {
    let mut total = 0.0;
    for chunk in x.chunks(4096) {
        let mut lanes = [0f32; 32];
        let whole = chunk.chunks_exact(32);
        let tail: f32 = whole.remainder().iter().map(|x| x * x).sum();
        for c in whole {
            for i in 0..32 {
                lanes[i] += c[i] * c[i];
            }
        }
        total += f64::from(lanes.iter().sum::<f32>() + tail);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_until_cleared_and_norm_of_all() {
        let array = |shape: &[usize]| Array::zeros(shape);
        let weights = [("a.bias", array(&[1])), ("a.weight", array(&[2])), (WORD_EMBEDDINGS, array(&[9, 2]))];
        let mut gradients = Gradients::new(&weights.map(|(n, a)| (n.to_string(), a)).into());
        for _ in 0..2 {
            gradients.clear();
            assert_eq!(gradients.norm(), 0.0);
            for _ in 0..2 {
                let [weight, bias] = gradients.pair("a");
                weight.sum()[1] += 2.0;
                bias.sum()[0] += 1.0;
                gradients.add_rows(&[7, 7, 3], &[0.5, 0.25, 0.5, 0.25, 0.0, 0.0]);
            }
            assert_eq!(gradients.get("a.weight"), Some([0.0, 4.0].as_slice()));
            assert_eq!(gradients.rows().map(|(id, _)| id).collect::<Vec<_>>(), [3, 7]);
            assert!((gradients.norm() - 5.0).abs() < 1e-12);
        }
    }
}
