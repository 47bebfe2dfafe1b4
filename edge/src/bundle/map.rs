//! A bundle mapped into memory: its pages are shared, and read when they are needed.
#![allow(unsafe_code)]
use super::limits;
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Why a file could not be mapped.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refuses.
    #[error("cannot open {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A folder, pipe or device.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// What it names.
        path: PathBuf,
    },
    /// Above [`limits::FILE`].
    #[error("{} has {bytes} bytes, the limit is {}", path.display(), limits::FILE)]
    Oversized {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
}

/// The bytes of the file at `path`, mapped read-only; they live as long as a clone of them.
///
/// The file must not be written to while it is mapped: replace a bundle by renaming ([`super::save`] does),
/// never in place.
pub fn map(path: &Path) -> Result<Bytes, OpenError> {
    let fail = |source| OpenError::Io { path: path.into(), source };
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(OpenError::NotAFile { path: path.into() });
    }
    if metadata.len() > limits::FILE {
        return Err(OpenError::Oversized { path: path.into(), bytes: metadata.len() });
    }
    // SAFETY: the mapping is read-only. That nobody truncates or rewrites the file meanwhile cannot be
    // enforced; bundles are replaced by rename, which leaves a mapped one as it is.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?;
    Ok(Bytes::from_owner(map))
}
