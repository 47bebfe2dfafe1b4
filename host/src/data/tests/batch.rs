use proptest::prelude::*;

use super::*;

/// A seed must give the same split and batches in every release. The expected values come from a Python
/// implementation that reproduces SplitMix64's published test vector.
#[test]
fn random_numbers_are_stable() {
    let mut random = SplitMix::new(1, 2);
    let first = [random.next_u64(), random.next_u64()];
    assert_eq!(first, GOLDEN_RANDOM);
    assert_eq!(random::hash(1, "goldcrest"), GOLDEN_HASH);
    let lengths: Vec<usize> = (0..10).map(|index| index * 7 % 10).collect();
    assert_eq!(batches(&lengths, 4, 1, 2), GOLDEN_BATCHES.map(|batch| batch.to_vec()));
}
const GOLDEN_RANDOM: [u64; 2] = [5196188657185181188, 5005007431957806747];
const GOLDEN_HASH: u64 = 7589315763817276494;
const GOLDEN_BATCHES: [&[u32]; 3] = [&[1, 4, 7], &[2, 5, 8], &[0, 3, 6, 9]];

#[test]
fn batches_pad_little() {
    // lengths as in a corpus of phrases: many short ones, a long tail
    let mut random = SplitMix::new(5, 0);
    let lengths: Vec<usize> = (0..20_000).map(|_| 3 + random.below(8) * random.below(8)).collect();
    let padded = |batches: &[Vec<u32>]| -> usize {
        batches.iter().map(|b| b.len() * b.iter().map(|&i| lengths[i as usize]).max().unwrap_or(0)).sum()
    };
    let total: usize = lengths.iter().sum();
    let overhead = padded(&batches(&lengths, 32, 1, 0)) as f64 / total as f64;
    assert!(overhead < 1.02, "{overhead}");
    assert_ne!(batches(&lengths, 32, 1, 0), batches(&lengths, 32, 1, 1));
}

proptest! {
    #[test]
    fn batches_hold_every_index_once(lengths in prop::collection::vec(1_usize..200, 0..500), batch in 0_usize..40, seed: u64, epoch in 0_u64..9) {
        let batches = batches(&lengths, batch, seed, epoch);
        let size = batch.max(1);
        prop_assert_eq!(batches.len(), lengths.len().div_ceil(size));
        // no text has much more weight than another
        let sizes = || batches.iter().map(Vec::len);
        prop_assert!(sizes().all(|found| found <= size));
        prop_assert!(sizes().max().unwrap_or(0) - sizes().min().unwrap_or(0) <= 1);
        let mut seen: Vec<u32> = batches.concat();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..lengths.len() as u32).collect::<Vec<_>>());
    }
}
