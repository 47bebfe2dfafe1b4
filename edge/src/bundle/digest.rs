//! The digest that detects changes to a bundle's body: the SHA-256 of the SHA-256 digests of its parts. All
//! parts but the last have [`PART`] bytes. Parts allow several threads to share the work.
use sha2::{Digest, Sha256};

/// Size of a part in bytes.
const PART: usize = 1 << 20;

/// Returns the digest of `body`.
pub fn digest(body: &[u8]) -> [u8; 32] {
    join(body.chunks(PART).map(of))
}

/// Like [`digest`], on as many threads as the processor has. Calls `done` with each
/// part once it has been read.
#[cfg(feature = "runtime")]
pub fn digest_by_threads(body: &[u8], done: &(dyn Fn(&[u8]) + Sync)) -> [u8; 32] {
    use alloc::vec::Vec;
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::thread::{self, Builder};

    let parts: Vec<_> = body.chunks(PART).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut digests = Vec::new();
        loop {
            let number = next.fetch_add(1, Relaxed);
            let Some(part) = parts.get(number) else { return digests };
            digests.push((number, of(part)));
            done(part);
        }
    };
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(parts.len()));
    let mut digests = thread::scope(|scope| {
        // if a thread cannot be started, the others do its work
        let start = |_| Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (1..threads).map_while(start).collect();
        let mut digests = work();
        for helper in helpers {
            digests.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        digests
    });
    digests.sort_unstable_by_key(|&(number, _)| number);
    join(digests.into_iter().map(|(_, digest)| digest))
}

fn of(part: &[u8]) -> [u8; 32] {
    Sha256::digest(part).into()
}

fn join(parts: impl Iterator<Item = [u8; 32]>) -> [u8; 32] {
    let mut all = Sha256::new();
    parts.for_each(|part| all.update(part));
    all.finalize().into()
}

#[cfg(all(test, feature = "runtime"))]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn threads_change_nothing() {
        let body: Vec<u8> = (0..5 * PART / 2).map(|i| (i * i / 7) as u8).collect();
        for length in [0, 1, PART - 1, PART, PART + 1, 2 * PART, body.len()] {
            let read = Mutex::new(vec![]);
            let body = &body[..length];
            let by_threads = digest_by_threads(body, &|part| read.lock().unwrap().push(part.as_ptr().addr()));
            assert_eq!(by_threads, digest(body), "{length} bytes");
            let mut read = read.into_inner().unwrap();
            read.sort();
            assert!(read.into_iter().eq(body.chunks(PART).map(|part| part.as_ptr().addr())));
        }
        // compare with a digest computed by hand
        let halves = [Sha256::digest(&body[..PART]), Sha256::digest(&body[PART..PART + 9])].concat();
        assert_eq!(digest(&body[..PART + 9]), *Sha256::digest(&halves));
    }
}
