//! Zeroed memory on 64-byte boundaries; that of many matrices in one stretch of large pages.
use alloc::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use alloc::sync::Arc;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const LINE: usize = 64;
/// What Linux can map in one piece, where pages have 4 KiB.
const LARGE_PAGE: usize = 2 << 20;

/// Memory for what is packed together: one stretch, in large pages where the system has them. They come with one fault
/// instead of 512, and a walk through the weights never waits for a translation.
pub struct Arena {
    stretch: Arc<Stretch>,
    used: AtomicUsize,
}

impl Arena {
    /// What a block of so many bytes takes: whole lines.
    pub(super) fn room(bytes: usize) -> usize {
        bytes.next_multiple_of(LINE)
    }

    /// Room for blocks of `bytes` in all, each counted in whole lines.
    pub fn new(bytes: usize) -> Arena {
        Arena { stretch: Arc::new(Stretch::zeroed(bytes)), used: AtomicUsize::new(0) }
    }

    /// The next `bytes`; on their own when there is no room left.
    pub(super) fn zeroed(&self, bytes: usize) -> Aligned {
        let size = Self::room(bytes);
        let room = self.stretch.layout.size();
        let take = |used: usize| used.checked_add(size).filter(|&end| end <= room);
        match self.used.fetch_update(Relaxed, Relaxed, take) {
            // SAFETY: `start + size` lies within the stretch, and no other block has had these bytes: `used` only grows.
            Ok(start) => unsafe {
                Aligned { start: self.stretch.start.add(start), size, _of: self.stretch.clone() }
            },
            Err(_) => Aligned::zeroed(bytes),
        }
    }
}

/// Bytes on a 64-byte boundary, in whole lines, that nobody else reads or writes.
pub(super) struct Aligned {
    start: NonNull<u8>,
    size: usize,
    /// Keeps the memory.
    _of: Arc<Stretch>,
}

impl Aligned {
    /// On their own.
    pub fn zeroed(bytes: usize) -> Aligned {
        let stretch = Arc::new(Stretch::zeroed(bytes));
        Aligned { start: stretch.start, size: stretch.layout.size(), _of: stretch }
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: initialised bytes of a stretch that lives as long as this, written through `bytes_mut` alone.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.size) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and they are this one's alone.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }
}

// SAFETY: the bytes are owned, and shared as a slice is.
unsafe impl Send for Aligned {}
// SAFETY: as above.
unsafe impl Sync for Aligned {}

/// What the blocks are cut from.
struct Stretch {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it is memory and nothing else; who may read and write which part of it is the blocks' concern.
unsafe impl Send for Stretch {}
// SAFETY: as above.
unsafe impl Sync for Stretch {}

impl Stretch {
    fn zeroed(bytes: usize) -> Stretch {
        let align = if bytes < LARGE_PAGE { LINE } else { LARGE_PAGE };
        let size = bytes.next_multiple_of(LINE).max(LINE);
        let layout = Layout::from_size_align(size, align).expect("no more than memory holds");
        // SAFETY: the size is not zero.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        if align == LARGE_PAGE {
            prepare(start, size);
        }
        // SAFETY: these bytes were just allocated.
        unsafe { start.write_bytes(0, size) };
        Stretch { start, layout }
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout, and the last block that pointed here is gone.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Asks for large pages, and for all pages at once, before they are first written to. What a system does not have costs
/// speed, nothing else.
fn prepare(_start: NonNull<u8>, _bytes: usize) {
    #[cfg(all(target_os = "linux", feature = "runtime"))]
    {
        // a large page that reached past the end would take memory that nobody uses
        let whole = _bytes / LARGE_PAGE * LARGE_PAGE;
        // SAFETY: allocated bytes from a page's start on; the advice changes nothing that they hold.
        unsafe {
            libc::madvise(_start.as_ptr().cast(), whole, libc::MADV_HUGEPAGE);
            libc::madvise(_start.as_ptr().cast(), _bytes, libc::MADV_POPULATE_WRITE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lie_apart_on_boundaries_and_outlive_the_arena() {
        for room in [0, 1000, 3 * LARGE_PAGE] {
            let arena = Arena::new(room);
            let sizes = [1, 64, 65, LARGE_PAGE - 64, 0, LARGE_PAGE];
            let mut blocks = sizes.map(|size| arena.zeroed(size));
            drop(arena);
            for (mark, (block, size)) in (1..).zip(blocks.iter_mut().zip(sizes)) {
                let bytes = block.bytes_mut();
                assert!(bytes.len() >= size && bytes.len() < size + LINE + usize::from(size == 0));
                assert!(bytes.as_ptr().addr().is_multiple_of(LINE) && bytes.iter().all(|&b| b == 0));
                bytes.fill(mark);
            }
            for (mark, block) in (1..).zip(&blocks) {
                assert!(block.bytes().iter().all(|&b| b == mark), "{room}: block {mark} was written to");
            }
        }
    }
}
