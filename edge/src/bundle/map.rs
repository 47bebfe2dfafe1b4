//! A bundle mapped into memory: its pages are shared, and read when they are needed.
#![allow(unsafe_code)]
use super::digest::digest_by_threads;
use super::{Bundle, Error, limits};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::ops::Range;
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

/// A file's bytes in memory, whose pages the system has read and may forget: a mapped file, or a part of the program's own.
///
/// The file must not be written to while it is mapped: replace a bundle by renaming ([`super::save`] does),
/// never in place.
#[derive(Clone, Debug)]
pub struct Mapped {
    bytes: Bytes,
    /// What is forgotten is read from the file again.
    of_file: bool,
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
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?;
    Ok(Mapped { bytes: Bytes::from_owner(map), of_file: true })
}

impl Mapped {
    /// Bytes that are compiled into the program.
    pub fn embedded(bytes: &'static [u8]) -> Self {
        let range = bytes.as_ptr_range();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let of_file = is_read_only_file(&maps, range.start as usize..range.end as usize);
        Mapped { bytes: Bytes::from_static(bytes), of_file }
    }

    /// Its bytes. They live as long as a clone of them, whatever becomes of this.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Verifies it, on all cores, and parses it. What was read is given back on the way, so that a large file takes little memory.
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub fn read(&self) -> Result<Bundle<'_>, Error> {
        Bundle::read_digested(&self.bytes, |body| digest_by_threads(body, &|part| self.release(part)))
    }

    /// Gives the memory of these bytes back; they are read from the file again when they are used again. Bytes that are not of
    /// this file stay where they are, and so do those at the ends that share a page with others.
    pub fn release(&self, bytes: &[u8]) {
        let (all, part) = (self.bytes.as_ptr_range(), bytes.as_ptr_range());
        if !self.of_file || part.start < all.start || part.end > all.end {
            return;
        }
        let first = (part.start as usize).next_multiple_of(PAGE);
        let end = part.end as usize / PAGE * PAGE;
        if first < end {
            // SAFETY: whole pages of a read-only mapping of a file: they hold nothing that the file does not. That advice is
            // refused costs memory, nothing else.
            unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_DONTNEED) };
        }
    }
}

/// The largest page of the processors that run this: a multiple of the others.
const PAGE: usize = 64 << 10;

/// Whether `maps`, as /proc/self/maps tells them, has all of `range` in one mapping of a file that is not written to.
fn is_read_only_file(maps: &str, range: Range<usize>) -> bool {
    maps.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (Some(place), Some(rights), path) = (fields.next(), fields.next(), fields.nth(3)) else {
            return false;
        };
        let hex = |text: &str| usize::from_str_radix(text, 16).ok();
        let Some((Some(start), Some(end))) = place.split_once('-').map(|(a, b)| (hex(a), hex(b))) else {
            return false;
        };
        !rights.contains('w')
            && path.is_some_and(|path| path.starts_with('/'))
            && start <= range.start
            && range.end <= end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_files_that_are_not_written_to() {
        let maps = "aa0000-ab0000 r--p 00001000 fe:00 131 /usr/bin/goldcrest-edge\n\
                    ab0000-ac0000 rw-p 00011000 fe:00 131 /usr/bin/goldcrest-edge\n\
                    ac0000-ad0000 r--p 00000000 00:00 0\n\
                    ad0000-ae0000 rw-p 00000000 00:00 0 [heap]\n";
        let is = |start, end| is_read_only_file(maps, start..end);
        assert!(is(0xaa0000, 0xab0000) && is(0xaa1000, 0xaa1001));
        assert!(!is(0xaa0000, 0xab0001) && !is(0xa90000, 0xaa0001), "in part");
        assert!(!is(0xab0000, 0xab1000) && !is(0xac0000, 0xac1000) && !is(0xad0000, 0xad1000));
        assert!(!is_read_only_file("nonsense\n\nx-y r--p 0 0 0 /", 0..1));
    }

    #[test]
    fn what_is_released_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..1 << 20).map(|i: u32| (i / 7) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mapped = map(&path).unwrap();
        assert!(mapped.bytes()[..] == bytes);
        mapped.release(&mapped.bytes()[1000..900_000]);
        assert!(mapped.bytes()[..] == bytes);
        // not of the file: they stay
        let others = bytes.clone();
        mapped.release(&others);
        assert!(others == bytes);
        // on the heap, though static
        let leaked: &'static [u8] = Box::leak(bytes.clone().into_boxed_slice());
        let mapped = Mapped::embedded(leaked);
        mapped.release(leaked);
        assert!(mapped.bytes()[..] == bytes);
    }
}
