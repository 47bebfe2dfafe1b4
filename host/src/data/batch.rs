use super::SplitMix;

/// Number of batches sorted by length together: enough that batches need little padding, few enough that
/// epochs differ.
const POOL: usize = 100;

/// Returns the batches of an epoch as indices into `lengths` (token counts). Every index occurs once; batches
/// hold at most `batch` of them, and their sizes differ by at most one. (A small last batch would hold the
/// longest texts and give each the weight of many.)
///
/// Examples are shuffled, then sorted by length within pools of 100 batches, so that a batch holds texts of
/// similar length; finally the batches are shuffled. This is a pure function of its arguments: a resumed run
/// recomputes it and skips the batches already done.
///
/// A `batch` of 0 counts as 1.
pub fn batches(lengths: &[usize], batch: usize, seed: u64, epoch: u64) -> Vec<Vec<u32>> {
    let batch = batch.max(1);
    let mut random = SplitMix::new(seed, epoch);
    let mut order: Vec<u32> = (0..lengths.len() as u32).collect();
    random.shuffle(&mut order);
    let count = lengths.len().div_ceil(batch);
    let (least, larger) = (lengths.len() / count.max(1), lengths.len() % count.max(1));
    let sizes: Vec<usize> = (0..count).map(|number| least + usize::from(number < larger)).collect();
    let mut batches: Vec<Vec<u32>> = Vec::with_capacity(count);
    let mut rest = &mut order[..];
    for sizes in sizes.chunks(POOL) {
        let (pool, after) = rest.split_at_mut(sizes.iter().sum());
        pool.sort_by_key(|&index| lengths[index as usize]);
        let mut from = 0;
        for size in sizes {
            batches.push(pool[from..from + size].to_vec());
            from += size;
        }
        rest = after;
    }
    random.shuffle(&mut batches);
    batches
}
