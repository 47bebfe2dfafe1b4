use super::SplitMix;

/// Batches whose lengths are sorted together: large enough that a batch pads little, small enough that epochs differ.
const POOL: usize = 100;

/// The batches of an epoch: indices into `lengths` (token counts), every index once, `batch` of them at a time or as many in all
/// batches of a pool, but for one: a rest would be the longest texts, few of them and each with the weight of many.
///
/// Examples are shuffled, sorted by length within pools of 100 batches, and the batches shuffled; so a batch holds
/// similar lengths. A pure function of its arguments: a resumed run computes it again and skips what is done.
///
/// `batch` of 0 counts as 1.
pub fn batches(lengths: &[usize], batch: usize, seed: u64, epoch: u64) -> Vec<Vec<u32>> {
    let batch = batch.max(1);
    let mut random = SplitMix::new(seed, epoch);
    let mut order: Vec<u32> = (0..lengths.len() as u32).collect();
    random.shuffle(&mut order);
    let mut batches: Vec<Vec<u32>> = Vec::with_capacity(lengths.len().div_ceil(batch));
    for pool in order.chunks_mut(POOL.saturating_mul(batch)) {
        pool.sort_by_key(|&index| lengths[index as usize]);
        let count = pool.len().div_ceil(batch);
        let (least, larger) = (pool.len() / count, pool.len() % count);
        let (large, small) = pool.split_at(larger * (least + 1));
        batches.extend(large.chunks(least + 1).chain(small.chunks(least)).map(<[u32]>::to_vec));
    }
    random.shuffle(&mut batches);
    batches
}
