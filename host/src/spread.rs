//! Work on texts, spread over threads.

use rayon::prelude::*;

/// Adds models until there is one for each thread that gets a block of `block` of the `items`.
pub(crate) fn one_for_each_thread<M, E>(
    first: M,
    items: usize,
    block: usize,
    share: impl Fn(&M) -> Result<M, E>,
) -> Result<Vec<M>, E> {
    let threads = rayon::current_num_threads().min(items.div_ceil(block));
    let mut models = vec![first];
    while models.len() < threads {
        models.push(share(&models[0])?);
    }
    Ok(models)
}

/// Passes the items in blocks to `work`, a block to each model at a time, with the index of its first item. After
/// each round, `take` gets the results in the order of the items.
///
/// # Errors
/// The error of the first block that fails; later rounds do not begin.
pub(crate) fn spread<M: Send, T: Sync, R: Send, E: Send>(
    models: &mut [M],
    items: &[T],
    block: usize,
    work: impl Fn(&mut M, &[T], usize) -> Result<R, E> + Sync,
    mut take: impl FnMut(Vec<R>),
) -> Result<(), E> {
    let round = block * models.len();
    for (items, first) in items.chunks(round).zip((0..).step_by(round)) {
        let blocks: Vec<_> = items.chunks(block).zip((first..).step_by(block)).collect();
        let work = |(model, (items, first)): (&mut M, (&[T], usize))| work(model, items, first);
        let results: Vec<Result<R, E>> = models.par_iter_mut().zip(blocks).map(work).collect();
        take(results.into_iter().collect::<Result<_, _>>()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_the_first_error_counts() {
        let items: Vec<usize> = (0..23).collect();
        let mut models = vec![0; 3];
        let square = |calls: &mut usize, items: &[usize], first: usize| {
            *calls += 1;
            assert_eq!(items[0], first);
            Ok::<_, usize>(items.iter().map(|item| item * item).collect::<Vec<_>>())
        };
        let mut squares = Vec::new();
        spread(&mut models, &items, 4, square, |results| squares.extend(results.concat())).unwrap();
        assert_eq!(squares, items.iter().map(|item| item * item).collect::<Vec<_>>());
        assert_eq!(models, [2; 3], "blocks of at most 4");
        // the second round has blocks from 12, 16 and 20 on
        let fail = |_: &mut usize, _: &[usize], first| if first >= 16 { Err(first) } else { Ok(()) };
        let mut taken = 0;
        let failed = spread(&mut models, &items, 4, fail, |results| taken += results.len());
        assert_eq!((failed, taken), (Err(16), 3));
    }

    #[test]
    fn no_thread_is_without_a_block() {
        let models = |items| one_for_each_thread((), items, 4, |_| Ok::<_, ()>(())).unwrap().len();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(pool.install(|| [0, 1, 4, 5, 9, 100].map(models)), [1, 1, 1, 2, 3, 3]);
    }
}
