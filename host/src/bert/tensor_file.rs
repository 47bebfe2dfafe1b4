//! Files of f32 or f16 tensors in the safetensors format.

use super::{Array, Error};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, View};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Writes named tensors with their shapes and a header of `metadata`, atomically.
pub(crate) fn save<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a [usize], &'a [f32])>,
    dtype: Dtype,
    metadata: Option<(&str, String)>,
) -> Result<(), Error> {
    let tensors = tensors.into_iter().map(|(name, shape, values)| (name, Tensor { dtype, shape, values }));
    let metadata = metadata.map(|(key, value)| HashMap::from([(key.to_owned(), value)]));
    let file = safetensors::serialize(tensors, metadata)
        .map_err(|cause| Error::Safetensors { path: path.into(), cause })?;
    goldcrest_edge::bundle::save(path, &file).map_err(Error::io(path))
}

/// Turns one tensor at a time into bytes, as the file has them.
struct Tensor<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    values: &'a [f32],
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self.dtype {
            Dtype::F16 => self.values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
            _ => self.values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    fn data_len(&self) -> usize {
        self.values.len() * if self.dtype == Dtype::F16 { 2 } else { 4 }
    }
}

/// Returns the values of little-endian f32.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Reads those weights of a file whose names are `wanted`, once made `canonical`.
pub(super) fn load_weights(
    path: &Path,
    canonical: fn(&str) -> String,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Array>, Error> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let file = match SafeTensors::deserialize(&bytes) {
        Ok(file) => file,
        Err(cause) => return Err(not_safetensors(path, &bytes, cause)),
    };
    let mut found = BTreeMap::new();
    let mut names: Vec<&str> = file.names();
    names.sort_unstable();
    for own in names {
        let name = canonical(own);
        if !wanted(&name) {
            continue;
        }
        let view = file.tensor(own).expect("it is one of the file's names");
        let data = match view.dtype() {
            Dtype::F32 => floats(view.data()),
            Dtype::F16 => view.data().as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            Dtype::BF16 => {
                view.data().as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()
            }
            Dtype::F64 => view.data().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
            other => return Err(Error::Dtype { name: own.into(), dtype: format!("{other:?}") }),
        };
        let array = Array { shape: view.shape().to_vec(), data };
        if let Some((first, _)) = found.insert(name, (own, array)) {
            return Err(Error::Twice { first: first.into(), second: own.into() });
        }
    }
    Ok(found.into_iter().map(|(name, (_, array))| (name, array)).collect())
}

/// Converts a tensor name to Hugging Face's current convention: encoders saved without a head lack the `bert.` prefix,
/// and old checkpoints say gamma and beta.
pub(super) fn canonical(name: &str) -> String {
    let name =
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias");
    let bare = ["embeddings.", "encoder.", "pooler."].iter().any(|p| name.starts_with(p));
    if bare { format!("bert.{name}") } else { name }
}

/// Names what lies there instead of weights, if it is one of the usual mistakes.
fn not_safetensors(path: &Path, bytes: &[u8], cause: safetensors::SafeTensorError) -> Error {
    const PYTORCH: &str = "a PyTorch file: save it with Transformers' save_pretrained(FOLDER)";
    let what = match bytes {
        [] => "empty: download it again",
        [b'<', ..] => "a web page: download the file itself",
        [b'P', b'K', 3, 4, ..] | [0x80, 2, 0x8a, ..] => PYTORCH,
        _ if bytes.starts_with(b"version https://git-lfs") => {
            "a Git LFS pointer: fetch the weights with `git lfs pull`"
        }
        _ => return Error::Safetensors { path: path.into(), cause },
    };
    Error::NoSafetensors { path: path.into(), what }
}
