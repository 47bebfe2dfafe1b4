//! Bundles mapped into memory: processes share the pages, which are read on demand.
#![allow(unsafe_code)]
use super::digest::digest_by_threads;
use super::layout::MAGIC;
use super::{Bundle, Error, limits};
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

/// Why a file could not be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The operating system reported an error.
    #[error("cannot open {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: io::Error,
    },
    /// The path names a folder, pipe or device.
    #[error(
        "{} is not a file{}",
        path.display(),
        if path.join("config.json").is_file() { ", but the folder of a checkpoint, of which a bundle is made" } else { "" }
    )]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file was written to while in use: its contents, and so all answers, can no longer be trusted.
    #[error(
        "{} was written to while it was in use; put a new bundle beside it and `mv` it over the old one",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file is larger than [`limits::FILE`].
    #[error("{} has {bytes} bytes, the limit is {}", path.display(), limits::FILE)]
    Oversized {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
}

/// Bytes in pages that the system may drop and read again: a mapped file, or data inside the program itself.
///
/// The file must not be written to while it is mapped: replace a bundle by renaming a new one over it (as
/// [`super::save`] does), never in place. [`Mapped::check`] detects such a write, unless it happens at that
/// very moment or the contents are as before by then.
#[derive(Clone, Debug)]
pub struct Mapped {
    bytes: Bytes,
    /// Whether the pages are backed by a file, so that dropped ones can be read again.
    of_file: bool,
    source: Option<Arc<Source>>,
}

/// A mapped file.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    file: File,
    /// Its state when it was mapped or, later, when its contents were the same.
    state: Mutex<State>,
    /// Digest of the bundle in it, once loaded.
    digest: OnceLock<[u8; 32]>,
}

impl Source {
    /// Returns the state of the file as it is now.
    fn now(&self) -> Result<State, OpenError> {
        State::of(&self.file).map_err(|cause| OpenError::Io { path: self.path.clone(), cause })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_changed(&self) -> OpenError {
        OpenError::Changed { path: self.path.clone() }
    }
}

/// What changes whenever a file is written to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    bytes: u64,
    modified: SystemTime,
    /// Time of the last change to contents or metadata: unlike `modified`, nobody can set it.
    changed: (i64, i64),
}

impl State {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Ok(State { bytes: metadata.len(), modified: metadata.modified()?, changed })
    }
}

/// Maps the file at `path`.
///
/// # Errors
/// [`OpenError`].
pub fn map(path: &Path) -> Result<Mapped, OpenError> {
    let fail = |cause| OpenError::Io { path: path.into(), cause };
    // checked before opening it, because opening a named pipe waits for a writer
    if !std::fs::metadata(path).map_err(fail)?.is_file() {
        return Err(OpenError::NotAFile { path: path.into() });
    }
    let file = File::open(path).map_err(fail)?;
    let state = State::of(&file).map_err(fail)?;
    if state.bytes > limits::FILE {
        return Err(OpenError::Oversized { path: path.into(), bytes: state.bytes });
    }
    // SAFETY: the mapping is read-only. Nothing can keep others from truncating or rewriting the file; bundles
    // are replaced by renaming, which leaves a mapped file intact. Should one be rewritten all the same, no
    // value becomes invalid: text is copied before it is checked (see `Bundle::vocabulary`), and numbers may have any
    // bits.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?;
    let source = Source { path: path.into(), file, state: state.into(), digest: OnceLock::new() };
    Ok(Mapped { bytes: Bytes::from_owner(map), of_file: true, source: Some(Arc::new(source)) })
}

/// Returns whether a file is a bundle, by its first bytes.
pub fn is_bundle(path: &Path) -> bool {
    let mut first = [0; MAGIC.len()];
    // opening a pipe may wait, and what is read of it is gone
    path.is_file()
        && File::open(path).is_ok_and(|mut file| file.read_exact(&mut first).is_ok() && first == MAGIC)
}

impl Mapped {
    /// Wraps bytes that are compiled into the program, or stand unchanged in some other file.
    #[doc(hidden)]
    pub fn embedded(bytes: &'static [u8]) -> Self {
        let range = bytes.as_ptr_range();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        // where the program's own constants are, nothing was changed before it became read-only
        static CONSTANT: [u8; 8] = MAGIC;
        let beside = CONSTANT.as_ptr() as usize;
        let of_file = is_read_only_file(&maps, range.start as usize..range.end as usize, beside);
        Mapped { bytes: Bytes::from_static(bytes), of_file, source: None }
    }

    /// Checks that the file has not changed since it was mapped, judging by its length and its times. Once
    /// these differ, as they do when it is renamed or touched, the digest of a bundle that was
    /// loaded from it decides.
    ///
    /// # Errors
    /// [`OpenError::Changed`], or [`OpenError::Io`] if its state cannot be read.
    pub fn check(&self) -> Result<(), OpenError> {
        let Some(source) = &self.source else { return Ok(()) };
        let (now, mut state) = (source.now()?, source.state());
        if now == *state {
            return Ok(());
        }
        let same = |digest: &[u8; 32]| self.read().is_ok_and(|bundle| bundle.digest() == *digest);
        if now.bytes != self.bytes.len() as u64 || !source.digest.get().is_some_and(same) {
            return Err(source.has_changed());
        }
        *state = now;
        Ok(())
    }

    /// Remembers the digest of the bundle in the file, from which everything that is needed was copied.
    ///
    /// # Errors
    /// If the file may have been written to meanwhile, even if it is as before now: what was copied may not be.
    pub(crate) fn loaded(&self, bundle: &Bundle<'_>) -> Result<(), OpenError> {
        let Some(source) = &self.source else { return Ok(()) };
        let before = *source.state();
        if source.now()?.modified != before.modified {
            return Err(source.has_changed());
        }
        let _ = source.digest.set(bundle.digest());
        self.check()
    }

    /// Makes the process end with a message and exit code 1 when it touches pages that are gone, because the
    /// file was truncated or the disk fails. By default, SIGBUS ends it without a message. Works for one file per process; the
    /// message begins with `program`.
    ///
    /// # Errors
    /// If the system refuses the signal handler.
    pub fn exit_on_truncation(&self, program: &str) -> io::Result<()> {
        let Some(source) = &self.source else { return Ok(()) };
        let changed = OpenError::Changed { path: source.path.clone() };
        let _ = GONE.set(format!("{program}: {changed} (or the disk cannot be read)\n"));
        let handler: extern "C" fn(libc::c_int) = pages_are_gone;
        // SAFETY: the action is all zeros except for the handler, which calls only async-signal-safe
        // functions (signal-safety(7)).
        let refused = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as libc::sighandler_t;
            libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut())
        };
        if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Returns the bytes. A clone of them keeps them mapped, even when `self` is gone.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Verifies the digest on all cores and parses the bundle. Releases each part once it has been read, so
    /// that a large file takes little memory.
    ///
    /// # Errors
    /// The same as for [`Bundle::read`].
    pub fn read(&self) -> Result<Bundle<'_>, Error> {
        Bundle::read_digested(&self.bytes, |body| digest_by_threads(body, &|part| self.release(part)))
    }

    /// Returns the memory of `bytes` to the system; if they are used again, they are read from the file
    /// again. Has no effect on bytes outside this file, or on pages that `bytes` cover only in part.
    pub fn release(&self, bytes: &[u8]) {
        let (all, part) = (self.bytes.as_ptr_range(), bytes.as_ptr_range());
        if !self.of_file || part.start < all.start || part.end > all.end {
            return;
        }
        let first = (part.start as usize).next_multiple_of(PAGE);
        let end = part.end as usize / PAGE * PAGE;
        if first < end {
            // SAFETY: these are whole pages of a read-only file mapping, so nothing is lost that is not in
            // the file. If the system ignores the advice, this costs memory, nothing else.
            unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_DONTNEED) };
        }
    }
}

/// Message that [`pages_are_gone`] prints.
static GONE: OnceLock<String> = OnceLock::new();

extern "C" fn pages_are_gone(_signal: libc::c_int) {
    static ENDS: AtomicBool = AtomicBool::new(false);
    // SAFETY: these functions are async-signal-safe. Only the first thread prints; others wait until it ends
    // the process.
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

/// The largest page size of all supported processors, a multiple of the smaller ones.
const PAGE: usize = 64 << 10;

/// Returns whether `range` lies in the same read-only mapping of a file as the address `beside`, according to `maps`,
/// the text of /proc/self/maps.
fn is_read_only_file(maps: &str, range: Range<usize>, beside: usize) -> bool {
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
            && (start..end).contains(&beside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use std::time::Duration;

    #[test]
    fn only_read_only_mappings_of_files_count() {
        let maps = "aa0000-ab0000 r--p 00001000 fe:00 131 /usr/bin/goldcrest-edge\n\
                    ab0000-ac0000 rw-p 00011000 fe:00 131 /usr/bin/goldcrest-edge\n\
                    ac0000-ad0000 r--p 00000000 00:00 0\n\
                    ad0000-ae0000 rw-p 00000000 00:00 0 [heap]\n";
        let is = |start, end| is_read_only_file(maps, start..end, start);
        assert!(is(0xaa0000, 0xab0000) && is(0xaa1000, 0xaa1001));
        assert!(!is(0xaa0000, 0xab0001) && !is(0xa90000, 0xaa0001), "in part");
        assert!(!is(0xab0000, 0xab1000) && !is(0xac0000, 0xac1000) && !is(0xad0000, 0xad1000));
        assert!(!is_read_only_file(maps, 0xaa0000..0xaa1000, 0xab0000), "in another mapping");
        assert!(!is_read_only_file("nonsense\n\nx-y r--p 0 0 0 /", 0..1, 0));
    }

    #[test]
    fn a_file_that_was_written_to_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("file"), folder.path().join("other"));
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/sentiment-nano/sentiment-nano.bundle");
        let bytes = std::fs::read(shipped).unwrap();
        for path in [&path, &other] {
            std::fs::write(path, &bytes).unwrap();
        }
        let open = |path: &Path| File::options().write(true).open(path).unwrap();
        let read = |path: &Path| {
            let mapped = map(path).unwrap();
            mapped.loaded(&mapped.read().unwrap()).unwrap();
            mapped.check().unwrap();
            // longer than the system's clock ticks
            std::thread::sleep(Duration::from_millis(20));
            mapped
        };
        let changed = |mapped: &Mapped| matches!(mapped.check(), Err(OpenError::Changed { .. }));
        // while it is loaded, it may be renamed but not written to, even with the same contents
        let (mapped, later) = (map(&other).unwrap(), SystemTime::now() + Duration::from_secs(5));
        std::fs::rename(&other, folder.path().join("renamed")).unwrap();
        mapped.loaded(&mapped.read().unwrap()).unwrap();
        std::fs::rename(folder.path().join("renamed"), &other).unwrap();
        let mapped = map(&other).unwrap();
        open(&other).set_modified(later).unwrap();
        assert!(mapped.loaded(&mapped.read().unwrap()).is_err());
        // whatever leaves the contents alone is allowed, as is renaming another file over it
        let mapped = read(&path);
        open(&path).set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
        mapped.check().unwrap();
        std::fs::rename(&other, &path).unwrap();
        mapped.check().unwrap();
        let mapped = read(&path);
        let modified = open(&path).metadata().unwrap().modified().unwrap();
        open(&path).write_all_at(b"?", 70_000).unwrap();
        assert!(changed(&mapped), "a byte");
        open(&path).set_modified(modified).unwrap();
        assert!(changed(&mapped), "modified as before");
        open(&path).write_all_at(&bytes[70_000..][..1], 70_000).unwrap();
        mapped.check().unwrap();
        open(&path).set_len(bytes.len() as u64 - 1).unwrap();
        assert!(changed(&mapped), "shorter");
        assert!(matches!(map(folder.path()), Err(OpenError::NotAFile { .. })));
        // what is no bundle may not be touched at all
        std::fs::write(&path, b"four").unwrap();
        let mapped = map(&path).unwrap();
        mapped.check().unwrap();
        open(&path).set_modified(modified).unwrap();
        assert!(changed(&mapped));
    }

    #[test]
    fn released_pages_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..1 << 20).map(|i: u32| (i / 7) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mapped = map(&path).unwrap();
        assert!(mapped.bytes()[..] == bytes);
        mapped.release(&mapped.bytes()[1000..900_000]);
        assert!(mapped.bytes()[..] == bytes);
        // bytes outside the file are left alone
        let others = bytes.clone();
        mapped.release(&others);
        assert!(others == bytes);
        // these are static, but on the heap and not in a file
        let leaked: &'static [u8] = Box::leak(bytes.clone().into_boxed_slice());
        let mapped = Mapped::embedded(leaked);
        mapped.release(leaked);
        assert!(mapped.bytes()[..] == bytes);
    }
}
