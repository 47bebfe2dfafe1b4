use super::SplitMix;

/// Batches whose lengths are sorted together: large enough that a batch pads little, small enough that epochs differ.
const POOL: usize = 100;

/// The batches of an epoch: indices into `lengths` (token counts), every index once, at most `batch` of them at a time and as many
/// in all batches, but for one. A rest would be the longest texts, few of them and each with the weight of many.
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
    let count = lengths.len().div_ceil(batch);
    let (least, larger) = (lengths.len() / count.max(1), lengths.len() % count.max(1));
    let mut rest = &mut order[..];
    let mut batches: Vec<Vec<u32>> = Vec::with_capacity(count);
    while !rest.is_empty() {
        let sizes = (batches.len()..count).take(POOL).map(|number| least + usize::from(number < larger));
        let (pool, after) = rest.split_at_mut(sizes.clone().sum());
        pool.sort_by_key(|&index| lengths[index as usize]);
        let mut pool = &*pool;
        for size in sizes.collect::<Vec<_>>() {
            let (batch, others) = pool.split_at(size);
            batches.push(batch.to_vec());
            pool = others;
        }
        rest = after;
    }
    random.shuffle(&mut batches);
    batches
}
