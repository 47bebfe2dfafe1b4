//! A bundle mapped into memory: its pages are shared, and read when they are needed.
#![allow(unsafe_code)]
use super::digest::digest_by_threads;
use super::{Bundle, Error, limits};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

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
    /// In use, and not what it was: neither its answers nor its pages can be relied on.
    #[error(
        "{} was written to while it was in use; put a new bundle beside it and `mv` it over the old one",
        path.display()
    )]
    Changed {
        /// The file.
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

/// Bytes in pages that the system may drop and read again: a mapped file, or a part of the program itself.
///
/// The file must not be written to while it is mapped: replace a bundle by renaming ([`super::save`] does),
/// never in place. [`Mapped::check`] tells, unless it happens at that very moment.
#[derive(Clone, Debug)]
pub struct Mapped {
    bytes: Bytes,
    /// What is forgotten is read from the file again.
    of_file: bool,
    source: Option<Arc<Source>>,
}

/// A file as it was when it was mapped.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    file: File,
    written: SystemTime,
}

/// Maps the file at `path`.
pub fn map(path: &Path) -> Result<Mapped, OpenError> {
    let fail = |source| OpenError::Io { path: path.into(), source };
    // before it is opened: a pipe would wait for whoever writes into it
    if !std::fs::metadata(path).map_err(fail)?.is_file() {
        return Err(OpenError::NotAFile { path: path.into() });
    }
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if metadata.len() > limits::FILE {
        return Err(OpenError::Oversized { path: path.into(), bytes: metadata.len() });
    }
    // SAFETY: the mapping is read-only. That nobody truncates or rewrites the file meanwhile cannot be
    // enforced; bundles are replaced by rename, which leaves a mapped one as it is.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?;
    let source = Source { path: path.into(), file, written: metadata.modified().map_err(fail)? };
    Ok(Mapped { bytes: Bytes::from_owner(map), of_file: true, source: Some(Arc::new(source)) })
}

impl Mapped {
    /// Bytes that are compiled into the program.
    pub fn embedded(bytes: &'static [u8]) -> Self {
        let range = bytes.as_ptr_range();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let of_file = is_read_only_file(&maps, range.start as usize..range.end as usize);
        Mapped { bytes: Bytes::from_static(bytes), of_file, source: None }
    }

    /// Whether the file is still what was mapped, as far as its length and the time of the last change tell.
    pub fn check(&self) -> Result<(), OpenError> {
        let Some(source) = &self.source else { return Ok(()) };
        let same = source
            .file
            .metadata()
            .and_then(|now| Ok(now.len() == self.bytes.len() as u64 && now.modified()? == source.written));
        match same {
            Ok(true) => Ok(()),
            Ok(false) => Err(OpenError::Changed { path: source.path.clone() }),
            Err(error) => Err(OpenError::Io { path: source.path.clone(), source: error }),
        }
    }

    /// From now on the process ends with a message and the exit code 1 where it touches pages of this file that are gone because the
    /// file was made shorter: the system's SIGBUS would end it without one. For one file of a process; `program` begins the message.
    pub fn end_where_pages_are_gone(&self, program: &str) -> io::Result<()> {
        let Some(source) = &self.source else { return Ok(()) };
        let changed = OpenError::Changed { path: source.path.clone() };
        let _ = GONE.set(format!("{program}: {changed}\n"));
        let handler: extern "C" fn(libc::c_int) = pages_are_gone;
        // SAFETY: the action is all zeros but for the handler, which does what is allowed in one (signal-safety(7)).
        let refused = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as libc::sighandler_t;
            libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut())
        };
        if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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

/// What is said where pages are gone.
static GONE: OnceLock<String> = OnceLock::new();

extern "C" fn pages_are_gone(_signal: libc::c_int) {
    static ENDS: AtomicBool = AtomicBool::new(false);
    // SAFETY: these functions may be called in a signal handler; another thread that comes here waits for the first one's end.
    unsafe {
        while ENDS.swap(true, Ordering::SeqCst) {
            libc::pause();
        }
        if let Some(message) = GONE.get() {
            libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
        }
        libc::_exit(1);
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
    fn a_file_that_was_written_to_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("file"), folder.path().join("other"));
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        let touch =
            |path: &Path| File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
        for path in [&path, &other] {
            std::fs::write(path, b"four").unwrap();
        }
        let mapped = map(&path).unwrap();
        mapped.check().unwrap();
        // another file of that name leaves this one as it is
        touch(&other);
        std::fs::rename(&other, &path).unwrap();
        mapped.check().unwrap();
        let mapped = map(&path).unwrap();
        std::fs::write(&path, b"five").unwrap();
        assert!(matches!(mapped.check(), Err(OpenError::Changed { .. })), "as long as before");
        let mapped = map(&path).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(3).unwrap();
        assert!(matches!(mapped.check(), Err(OpenError::Changed { .. })), "shorter");
        assert!(matches!(map(folder.path()), Err(OpenError::NotAFile { .. })));
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
