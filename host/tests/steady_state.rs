//! Checks with a counting allocator that the fused path allocates nothing per text.

mod support;

use std::alloc::System;

use goldcrest::{
    export,
    quantize::{Bits, quantize},
};
use goldcrest_edge::model::{Model, Options};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::{Random, SHAPES, checkpoint, text};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Returns the number of allocations since the program started.
fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

fn main() {
    assert!(allocations() > 0, "the counter counts");
    for shape in &SHAPES {
        let (graph, data) = export::int8(&quantize(&checkpoint(shape, 7), Bits::Eight).unwrap()).split();
        let mut model = Model::load(&graph, data.into(), &Options::default()).unwrap();
        let mut random = Random(1);
        let texts: Vec<_> = (1..=shape.positions).map(|n| text(&mut random, shape.vocabulary, n)).collect();
        let mut logits = vec![0.0; model.classes()];
        let before = allocations();
        for (ids, types) in &texts {
            model.run(ids, types, &mut logits).unwrap();
        }
        let during = allocations() - before;
        assert_eq!(during, 0, "{}", shape.name);
        model.run_plan(&texts[0].0, &texts[0].1, &mut logits).unwrap();
        let turn = allocations() - before;
        println!("{}: 0 allocations in {} texts, {turn} in a turn of tract's plan", shape.name, texts.len());
    }
}
