//! A bundle mapped into memory: its pages are shared, and read when they are needed.
#![allow(unsafe_code)]
use super::{Bundle, Error, limits};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// A file mapped read-only; the mapping lives as long as a clone of it or of its bytes.
///
/// The file must not be written to while it is mapped: replace a bundle by renaming ([`super::save`] does),
/// never in place.
#[derive(Clone, Debug)]
pub struct Mapped {
    map: Arc<memmap2::Mmap>,
    bytes: Bytes,
}

/// The pages of a [`Mapped`] file, for [`Bytes`].
struct Pages(Arc<memmap2::Mmap>);

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Maps the file at `path`.
pub fn map(path: &Path) -> Result<Mapped, OpenError> {
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
    let map = Arc::new(unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?);
    Ok(Mapped { bytes: Bytes::from_owner(Pages(map.clone())), map })
}

impl Mapped {
    /// Its bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Verifies and parses it. What was read is given back on the way, so that a large file takes little memory.
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub fn read(&self) -> Result<Bundle<'_>, Error> {
        Bundle::read_by_parts(&self.bytes, &mut |range| self.release(range))
    }

    /// Gives the memory of some bytes back; they are read from the file again when they are used again.
    pub fn release(&self, range: Range<usize>) {
        // SAFETY: the mapping is read-only and of a file: its pages hold nothing that the file does not.
        // That advice is refused costs memory, nothing else.
        let _ = unsafe {
            self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
        };
    }
}
