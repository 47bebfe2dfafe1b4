//! Factorised word embeddings: a table of rank r and a projection, beside the table that they make.

use super::checkpoint::{PROJECTION, WORD_EMBEDDINGS};
use super::ops::vectorized;
use super::tokenizer_files::is_there;
use super::{Array, Config, Error, tensor_file};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// File with the factors of factorised word embeddings; `model.safetensors` holds their product.
pub(super) const FACTORS_FILE: &str = "embedding_factors.safetensors";

/// Reads the factors of the word embeddings, unless they do not match the table: training or saving the folder
/// with Transformers changes only the table, or drops the file of factors.
pub(super) fn factors_of(
    table: Option<&Array>,
    config: &Config,
    dir: &Path,
) -> Result<Option<BTreeMap<String, Array>>, Error> {
    // the rounding error of f16: relative, and absolute for subnormal numbers
    const CLOSE: f32 = 1.0 / 1024.0;
    const STEP: f32 = 1.0 / (1 << 24) as f32;
    let path = dir.join(FACTORS_FILE);
    let (Some(rank), true) = (config.embedding_rank(), is_there(&path)) else { return Ok(None) };
    let factors = tensor_file::load_weights(&path, tensor_file::canonical, |name| {
        [WORD_EMBEDDINGS, PROJECTION].contains(&name)
    })?;
    let of_shape = |array: Option<&Array>, rows, columns| array.is_some_and(|a| a.shape == [rows, columns]);
    let (rows, projection) = (factors.get(WORD_EMBEDDINGS), factors.get(PROJECTION));
    let (v, h) = (config.vocab_size, config.hidden_size);
    if !(of_shape(table, v, h) && of_shape(rows, v, rank) && of_shape(projection, h, rank)) {
        return Ok(None);
    }
    let product = product(&factors[WORD_EMBEDDINGS], &factors[PROJECTION]);
    let mut values = table.into_iter().flat_map(|table| &table.data).zip(&product.data);
    let same = values.all(|(a, b)| (a - b).abs() <= CLOSE * b.abs() + STEP);
    Ok(same.then_some(factors))
}

/// Returns `table [v, r] · projection [h, r]ᵀ`, summed in f64.
pub(super) fn product(table: &Array, projection: &Array) -> Array {
    let ((v, r), (h, _)) = (table.dims2(), projection.dims2());
    let by_rank: Vec<f64> =
        (0..r).flat_map(|k| (0..h).map(move |i| f64::from(projection.data[i * r + k]))).collect();
    let mut out = Array::zeros(&[v, h]);
    out.data.par_chunks_mut(h).zip(table.data.par_chunks(r)).for_each_init(
        || vec![0.0; h],
        |sums, (to, row)| {
            vectorized!(|| {
                sums.fill(0.0);
                for (x, column) in row.iter().zip(by_rank.chunks_exact(h)) {
                    sums.iter_mut().zip(column).for_each(|(sum, p)| *sum += f64::from(*x) * p);
                }
                to.iter_mut().zip(sums.iter()).for_each(|(to, sum)| *to = *sum as f32);
            });
        },
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_multiplied_out_exactly() {
        let array = |rows: usize, cols: usize| Array {
            shape: vec![rows, cols],
            data: (0..rows * cols).map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0).collect(),
        };
        let (table, projection) = (array(29, 17), array(33, 17));
        let out = product(&table, &projection);
        assert_eq!(out.shape, [29, 33]);
        for (i, found) in out.data.iter().enumerate() {
            let (row, column) = (i / 33, i % 33);
            let products = (0..17)
                .map(|k| f64::from(table.data[row * 17 + k]) * f64::from(projection.data[column * 17 + k]));
            assert_eq!(*found, products.sum::<f64>() as f32);
        }
    }
}
