//! Zeroed memory aligned to 64 bytes, and arenas that hold many matrices in one allocation of huge pages.
use alloc::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use alloc::sync::Arc;
use core::ptr::NonNull;

const LINE: usize = 64;
/// Size of a huge page of Linux, if normal pages have 4 KiB.
const HUGE_PAGE: usize = 2 << 20;

/// Memory for weights that are packed together: one allocation, in huge pages if the system has them. These
/// take one page fault instead of 512, and reading the weights does not wait for address translation.
pub struct Arena {
    allocation: Arc<Allocation>,
    used: usize,
}

impl Arena {
    /// Returns the number of bytes that a block takes in an arena: whole cache lines.
    pub(super) fn room(bytes: usize) -> usize {
        bytes.next_multiple_of(LINE)
    }

    /// Allocates an arena for blocks of `bytes` in total, each counted in whole cache lines.
    pub fn new(bytes: usize) -> Arena {
        Arena { allocation: Arc::new(Allocation::zeroed(bytes)), used: 0 }
    }

    /// Returns the next `bytes`, or a separate allocation if there is no room left.
    pub(super) fn zeroed(&mut self, bytes: usize) -> Aligned {
        let size = Self::room(bytes);
        if size > self.allocation.layout.size() - self.used {
            return Aligned::zeroed(bytes);
        }
        // SAFETY: `used + size` is within the allocation.
        let start = unsafe { self.allocation.start.add(self.used) };
        // no other block has these bytes
        self.used += size;
        Aligned { start, size, _of: self.allocation.clone() }
    }
}

/// Bytes aligned to 64 bytes, in whole cache lines, that nothing else reads or writes.
pub(super) struct Aligned {
    start: NonNull<u8>,
    size: usize,
    /// Keeps the memory alive.
    _of: Arc<Allocation>,
}

impl Aligned {
    /// Allocates memory outside any arena.
    pub fn zeroed(bytes: usize) -> Aligned {
        let allocation = Arc::new(Allocation::zeroed(bytes));
        Aligned { start: allocation.start, size: allocation.layout.size(), _of: allocation }
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: initialised bytes of an allocation that lives as long as this, written
        // only through `bytes_mut`.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.size) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and nothing else refers to them.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }
}

// SAFETY: the bytes are owned, and shared as a slice is.
unsafe impl Send for Aligned {}
// SAFETY: as above.
unsafe impl Sync for Aligned {}

/// An allocation that blocks are parts of.
struct Allocation {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it is only memory; the blocks determine who may read and write which part of it.
unsafe impl Send for Allocation {}
// SAFETY: as above.
unsafe impl Sync for Allocation {}

impl Allocation {
    fn zeroed(bytes: usize) -> Allocation {
        let align = if bytes < HUGE_PAGE { LINE } else { HUGE_PAGE };
        let size = bytes.next_multiple_of(LINE).max(LINE);
        let layout = Layout::from_size_align(size, align).expect("no more than memory holds");
        // SAFETY: the size is not zero.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        if align == HUGE_PAGE {
            prepare(start, size);
        }
        // SAFETY: these bytes were just allocated.
        unsafe { start.write_bytes(0, size) };
        Allocation { start, layout }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout, and the last block that refers to it is gone.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Asks for huge pages, and for all pages at once, before the first write. If the system refuses, this costs
/// speed, nothing else.
fn prepare(_start: NonNull<u8>, _bytes: usize) {
    #[cfg(all(target_os = "linux", feature = "runtime"))]
    {
        // a huge page that reaches past the end would waste memory
        let whole = _bytes / HUGE_PAGE * HUGE_PAGE;
        // SAFETY: allocated bytes, beginning at the start of a page; the advice does
        // not change their contents.
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
    fn blocks_are_disjoint_and_aligned_and_outlive_the_arena() {
        for room in [0, 1000, 3 * HUGE_PAGE] {
            let mut arena = Arena::new(room);
            let sizes = [1, 64, 65, HUGE_PAGE - 64, 0, HUGE_PAGE];
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
