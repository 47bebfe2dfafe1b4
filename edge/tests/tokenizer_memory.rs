//! After construction the tokenizer allocates nothing, whatever the text and however long.
mod tokenizer_common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use goldcrest_edge::tokenizer::{Encoding, Settings, Tokenizer};
use tokenizer_common::*;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[allow(unsafe_code)]
// SAFETY: passes every call on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is the one `System` asks for.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test, so that no other thread allocates meanwhile.
#[test]
fn nothing_is_allocated_after_construction() {
    let vocab = synthetic_vocab();
    let texts =
        ["The light, please!", ALPHABET, &ALPHABET.repeat(200), &"x".repeat(5000), &"\u{302e}".repeat(5000)];
    let mut encoding = Encoding::new();
    for special_tokens_in_text in [false, true] {
        for settings in every_setting() {
            let settings = Settings { special_tokens_in_text, ..settings };
            let before = ALLOCATIONS.load(Relaxed);
            let tokenizer = Tokenizer::new(vocab.as_str(), settings).unwrap();
            assert!(ALLOCATIONS.load(Relaxed) > before, "the counter counts");
            let before = ALLOCATIONS.load(Relaxed);
            let mut pieces = 0;
            for text in texts {
                tokenizer.encode(text, None, 128, &mut encoding).unwrap();
                tokenizer.encode(text, Some(text), 512, &mut encoding).unwrap();
                let mut encoder = tokenizer.encoder(512, &mut encoding).unwrap();
                text.split_inclusive(' ').for_each(|chunk| encoder.push(chunk));
                encoder.finish();
                let mut windows =
                    tokenizer.windows(64, 16, &mut encoding, |window| pieces += window.pieces()).unwrap();
                text.split_inclusive('a').for_each(|chunk| windows.push(chunk));
                windows.finish();
            }
            assert_eq!(ALLOCATIONS.load(Relaxed), before, "{settings:?}");
            assert!(pieces > 1000);
        }
    }
}
