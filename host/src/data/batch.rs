use super::SplitMix;

/// Batches whose lengths are sorted together: large enough that a batch pads little, small enough that epochs differ.
const POOL: usize = 50;

/// The batches of an epoch: indices into `lengths` (token counts), every index once, `batch` of them at a time and
/// the rest in a last, smaller one that may stand anywhere.
///
/// Examples are shuffled, sorted by length within pools of 50 batches, and the batches shuffled; so a batch holds
/// similar lengths. A pure function of its arguments: a resumed run computes it again and skips what is done.
///
/// `batch` of 0 counts as 1.
pub fn batches(lengths: &[usize], batch: usize, seed: u64, epoch: u64) -> Vec<Vec<u32>> {
    let batch = batch.max(1);
    let mut random = SplitMix::new(seed, epoch);
    let mut order: Vec<u32> = (0..lengths.len() as u32).collect();
    random.shuffle(&mut order);
    for pool in order.chunks_mut(POOL.saturating_mul(batch)) {
        pool.sort_by_key(|&index| lengths[index as usize]);
    }
    let mut batches: Vec<Vec<u32>> = order.chunks(batch).map(<[u32]>::to_vec).collect();
    random.shuffle(&mut batches);
    batches
}
