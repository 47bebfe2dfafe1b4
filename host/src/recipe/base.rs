//! Loading the model that a run starts from: a checkpoint folder or a bundle.

use super::error::RunError;
use crate::bert::{Checkpoint, Config};
use crate::{export, hex};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Loads a folder in Hugging Face's layout, or a bundle's model.
pub(super) fn load(path: &Path) -> Result<Checkpoint, RunError> {
    if path.is_file() {
        return Ok(export::checkpoint(path)?);
    }
    if !path.join("config.json").is_file() {
        return Err(RunError::NoBase { path: path.to_path_buf() });
    }
    Ok(Checkpoint::load(path)?)
}

/// Returns the configuration of such a model.
pub(super) fn config(path: &Path) -> Result<Config, RunError> {
    if path.is_file() { Ok(load(path)?.config) } else { Ok(Config::load(path)?) }
}

/// Returns the SHA-256 of everything that affects the model's results.
pub(super) fn digest(path: &Path) -> Result<String, RunError> {
    let mut hash = Sha256::new();
    let files = match path.is_file() {
        true => vec![path.to_path_buf()],
        false => {
            // the map is written for Transformers, and read only to refuse what is unusual
            let read = Checkpoint::FILES.iter().filter(|name| **name != "special_tokens_map.json");
            read.map(|name| path.join(name)).filter(|path| path.exists()).collect()
        }
    };
    for path in files {
        hash.update(std::fs::read(&path).map_err(RunError::io(&path))?);
    }
    Ok(hex(&hash.finalize()))
}
