//! Files of f32 or f16 tensors in the safetensors format.

use super::Error;
use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// Writes named tensors with their shapes and a header of `metadata`, atomically.
pub(crate) fn save<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a [usize], &'a [f32])>,
    dtype: Dtype,
    metadata: Option<(&str, String)>,
) -> Result<(), Error> {
    let bytes = |data: &[f32]| -> Vec<u8> {
        match dtype {
            Dtype::F16 => data.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
            _ => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    };
    let parts: Vec<(&str, &[usize], Vec<u8>)> =
        tensors.into_iter().map(|(name, shape, data)| (name, shape, bytes(data))).collect();
    let fail = |source| Error::Safetensors { path: path.into(), source };
    let views = parts
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(dtype, shape.to_vec(), bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(fail)?;
    let metadata = metadata.map(|(key, value)| HashMap::from([(key.to_owned(), value)]));
    let file = safetensors::serialize(views, metadata).map_err(fail)?;
    goldcrest_edge::bundle::save(path, &file).map_err(Error::io(path))
}

/// Returns the values of little-endian f32.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}
