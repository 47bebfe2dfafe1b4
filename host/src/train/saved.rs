//! Files of f32 tensors that training writes for itself, with a digest that tells whether they are as they
//! were written.

use super::Error;
use crate::bert::tensor_file;
use crate::hex;
use safetensors::tensor::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Key of the header in the file's metadata.
const HEADER: &str = "goldcrest";

/// What stands before the tensors.
#[derive(Serialize, Deserialize)]
struct Header<T> {
    /// Digest of `note` and of all tensors.
    digest: String,
    note: T,
}

/// Writes named tensors with their shapes and a note, atomically.
pub(super) fn save(
    path: &Path,
    tensors: &[(&str, &[usize], &[f32])],
    note: &impl Serialize,
) -> Result<(), Error> {
    let by_name: BTreeMap<&str, &[f32]> = tensors.iter().map(|(name, _, values)| (*name, *values)).collect();
    let header = Header { digest: digest(note, by_name.into_iter()), note };
    let json = serde_json::to_string(&header).expect("plain values");
    Ok(tensor_file::save(path, tensors.iter().copied(), Dtype::F32, Some((HEADER, json)))?)
}

/// Reads the tensors and the note of a file from [`save`]; `None` if there is none or it is damaged.
pub(super) fn load<T>(path: &Path) -> Option<(BTreeMap<String, Vec<f32>>, T)>
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    let bytes = std::fs::read(path).ok()?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).ok()?;
    let header: Header<T> = serde_json::from_str(metadata.metadata().as_ref()?.get(HEADER)?).ok()?;
    let file = SafeTensors::deserialize(&bytes).ok()?;
    let tensors: BTreeMap<String, Vec<f32>> =
        file.iter().map(|(name, view)| (name.to_owned(), tensor_file::floats(view.data()))).collect();
    let by_name = tensors.iter().map(|(name, values)| (&name[..], &values[..]));
    (digest(&header.note, by_name) == header.digest).then_some((tensors, header.note))
}

/// Returns the SHA-256 of a note and of tensors in order of their names.
fn digest<'a>(note: &impl Serialize, tensors: impl Iterator<Item = (&'a str, &'a [f32])>) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(note).expect("plain values"));
    let mut bytes = Vec::new();
    for (name, values) in tensors {
        hash.update(name);
        hash.update((values.len() as u64).to_le_bytes());
        for some in values.chunks(1 << 14) {
            bytes.clear();
            bytes.extend(some.iter().flat_map(|x| x.to_le_bytes()));
            hash.update(&bytes);
        }
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved.safetensors");
        let (weights, note) = ([1.0, -2.5, 3.0], "after step 7".to_owned());
        save(&path, &[("b", &[2], &weights[..2]), ("a", &[1], &weights[2..])], &note).unwrap();
        let (tensors, read): (_, String) = load(&path).unwrap();
        assert_eq!((&tensors["a"][..], &tensors["b"][..], read), (&weights[2..], &weights[..2], note));
        let whole = std::fs::read(&path).unwrap();
        for bit in 0..8 * whole.len() {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, damaged).unwrap();
            if let Some((read, _)) = load::<String>(&path) {
                // spaces and letter case of the format itself
                assert_eq!(read, tensors, "bit {bit}");
            }
        }
    }
}
