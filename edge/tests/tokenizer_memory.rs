//! After construction the tokenizer allocates nothing, for any text of any length.
mod tokenizer_common;

use std::alloc::System;

use goldcrest_edge::tokenizer::{Encoding, Settings, Tokenizer};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokenizer_common::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Returns the number of allocations since the program began.
fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

fn main() {
    let vocab = synthetic_vocab();
    let texts =
        ["The light, please!", ALPHABET, &ALPHABET.repeat(200), &"x".repeat(5000), &"\u{302e}".repeat(5000)];
    let mut encoding = Encoding::new();
    for special_tokens_in_text in [false, true] {
        for settings in every_setting() {
            let settings = Settings { special_tokens_in_text, ..settings };
            let before = allocations();
            let tokenizer = Tokenizer::new(vocab.as_str(), settings).unwrap();
            assert!(allocations() > before, "the counter counts");
            let before = allocations();
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
            assert_eq!(allocations(), before, "{settings:?}");
            assert!(pieces > 1000);
        }
    }
}
