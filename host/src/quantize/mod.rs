//! Post-training quantization by the numeric contract. Weights are int8, symmetric, within ±127, with one
//! scale per output channel (per row for word and position embeddings). Activations are quantized at run
//! time, so no calibration is needed. Word embeddings may use 4 bits instead, and single linear layers may
//! stay in half precision ([`Quantized::widen`]).
//!
//! Token type embeddings, LayerNorm and biases stay f32.

mod sensitivity;

pub use sensitivity::{Sensitivity, sensitivity};

use half::f16;
use std::collections::BTreeMap;

pub use crate::bert::ops::Bits;
use crate::bert::{self, Array, Checkpoint, Config, Error, POSITION_EMBEDDINGS, WORD_EMBEDDINGS};

/// An integer matrix with one scale per row: `weight[r][c] ≈ values[r * columns + c] * scales[r]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Matrix {
    /// Whether the integers need 8 bits or 4.
    pub bits: Bits,
    /// Number of output channels, or of rows of an embedding table.
    pub rows: usize,
    /// Number of inputs, or width of an embedding.
    pub columns: usize,
    /// Row-major integers within ±127 or ±7.
    pub values: Vec<i8>,
    /// Scale of each row: `absmax / 127`, or the one with the least error for 4 bits.
    pub scales: Vec<f32>,
}

impl Int8Matrix {
    /// Quantizes a row-major matrix: `round(w / scale)`, ties to even.
    pub fn new(weights: &Array, bits: Bits) -> Int8Matrix {
        let (rows, columns) = weights.dims2();
        let mut values = Vec::with_capacity(rows * columns);
        let mut scales = Vec::with_capacity(rows);
        for row in weights.data.chunks_exact(columns) {
            let scale = bits.scale(row);
            values.extend(row.iter().map(|w| bits.integer(*w, scale) as i8));
            scales.push(scale);
        }
        Int8Matrix { bits, rows, columns, values, scales }
    }

    /// Returns the weights that the integers stand for.
    pub fn dequantized(&self) -> Array {
        let rows = self.values.chunks_exact(self.columns).zip(&self.scales);
        let data = rows.flat_map(|(row, s)| row.iter().map(move |&q| f32::from(q) * s)).collect();
        Array { shape: vec![self.rows, self.columns], data }
    }
}

/// A checkpoint with its matrices in int8, under the checkpoint's names.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// The configuration.
    pub config: Config,
    /// Matrices of linear layers; word and position embeddings.
    pub matrices: BTreeMap<String, Int8Matrix>,
    /// Everything else, in f32. Matrices of linear layers among them are written in f16.
    pub tensors: BTreeMap<String, Array>,
}

impl Quantized {
    /// Keeps these matrices of linear layers in half precision, with the values of `checkpoint`, from which
    /// this was quantized. Keys and values of a layer, which are computed together, are always kept together.
    pub fn widen<'a>(&mut self, checkpoint: &Checkpoint, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            let both = [name.replace(".key.", ".value."), name.replace(".value.", ".key."), name.into()];
            for name in both {
                if !is_table(&name) && self.matrices.remove(&name).is_some() {
                    let mut array = checkpoint.tensors[&name].clone();
                    array.data.iter_mut().for_each(|x| *x = f16::from_f32(x.clamp(-MOST, MOST)).to_f32());
                    self.tensors.insert(name, array);
                }
            }
        }
    }

    /// Returns the names of the linear layers' matrices in int8.
    pub fn linear(&self) -> impl Iterator<Item = &str> {
        self.matrices.keys().map(String::as_str).filter(|name| !is_table(name))
    }

    /// Returns the names of the linear layers' matrices in half precision.
    pub fn wide(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str).filter(|name| is_int8(name))
    }
}

/// The largest f16.
const MOST: f32 = 65_504.0;

/// Quantizes a classifier. `embeddings` sets the bits of the word embeddings; those of odd width always have
/// 8.
///
/// # Errors
/// If a tensor is missing, has another shape than the configuration says, or holds NaN or infinity.
pub fn quantize(checkpoint: &Checkpoint, embeddings: Bits) -> Result<Quantized, Error> {
    let (mut matrices, mut tensors) = (BTreeMap::new(), BTreeMap::new());
    for (name, array) in complete(checkpoint)? {
        if is_int8(&name) {
            let bits = bert::bits_of(&name, array, embeddings);
            matrices.insert(name, Int8Matrix::new(array, bits));
        } else {
            tensors.insert(name, array.clone());
        }
    }
    Ok(Quantized { config: checkpoint.config.clone(), matrices, tensors })
}

/// Returns every tensor of a classifier that can be exported, after checking shapes and that all values are finite.
pub(crate) fn complete(checkpoint: &Checkpoint) -> Result<BTreeMap<String, &Array>, Error> {
    if checkpoint.config.only_teaches() {
        return Err(Error::OnlyTeaches);
    }
    let find = |(name, wanted): (String, Vec<usize>)| {
        let hint = "train a classifier first";
        let Some(array) = checkpoint.tensors.get(&name) else {
            return Err(Error::Missing { name, hint });
        };
        if array.shape != wanted {
            return Err(Error::Shape { name, found: array.shape.clone(), wanted });
        }
        match array.data.iter().find(|x| !x.is_finite()) {
            Some(&value) => Err(Error::Unusable { name, value }),
            None => Ok((name, array)),
        }
    };
    Checkpoint::shapes(&checkpoint.config).into_iter().map(find).collect()
}

/// Returns whether this is a word or position embedding table, which is looked up rather than multiplied.
fn is_table(name: &str) -> bool {
    name == WORD_EMBEDDINGS || name == POSITION_EMBEDDINGS
}

/// Returns whether this is quantized: a matrix that multiplies activations, or a word or position embedding
/// table.
fn is_int8(name: &str) -> bool {
    let float = ["bias", "LayerNorm.weight", "token_type_embeddings.weight"];
    !float.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_the_nearest_and_each_row_has_its_own_scale() {
        let data = vec![1.0, -0.5, 0.25, 0.0, 2e-3, -1e-3, 0.0, 0.0];
        let matrix = Int8Matrix::new(&Array { shape: vec![2, 4], data: data.clone() }, Bits::Eight);
        // -63.5 rounds to the even -64
        assert_eq!(matrix.values, [127, -64, 32, 0, 127, -64, 0, 0]);
        assert_eq!(matrix.scales, [1.0 / 127.0, 2e-3 / 127.0]);
        let back = matrix.dequantized();
        assert_eq!(back.shape, [2, 4]);
        for (i, (a, b)) in data.iter().zip(&back.data).enumerate() {
            assert!((a - b).abs() <= 0.5001 * matrix.scales[i / 4], "{a} became {b}");
        }
    }

    #[test]
    fn four_bits_lose_less_with_clipping() {
        let mut data: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin()).collect();
        data[5] = 2.5;
        let array = Array { shape: vec![1, 64], data: data.clone() };
        let matrix = Int8Matrix::new(&array, Bits::Four);
        assert!(matrix.values.iter().all(|q| (-7..=7).contains(q)));
        let error = |scale: f32| -> f32 {
            data.iter().map(|w| (w - (w / scale).round_ties_even().clamp(-7.0, 7.0) * scale).powi(2)).sum()
        };
        assert!(error(matrix.scales[0]) < 0.9 * error(2.5 / 7.0), "{}", matrix.scales[0]);
    }

    #[test]
    fn a_row_of_zeros_stays_one() {
        let matrix = Int8Matrix::new(&Array::zeros(&[1, 5]), Bits::Eight);
        assert_eq!(matrix.values, [0; 5]);
        assert!(matrix.scales[0] > 0.0 && matrix.dequantized().data.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn matrices_become_int8_and_the_rest_stays() {
        for int8 in [
            "bert.embeddings.word_embeddings.weight",
            "bert.embeddings.position_embeddings.weight",
            "bert.pooler.dense.weight",
            "classifier.weight",
        ] {
            assert!(is_int8(int8), "{int8}");
        }
        for float in [
            "bert.embeddings.token_type_embeddings.weight",
            "bert.encoder.layer.0.output.LayerNorm.weight",
            "classifier.bias",
        ] {
            assert!(!is_int8(float), "{float}");
        }
    }
}
