//! The fused path allocates nothing a text: a counting allocator says so.
#![allow(unsafe_code)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use goldcrest::{
    export,
    quantize::{Bits, quantize},
};
use goldcrest_edge::model::{Model, Options};
use support::{Random, SHAPES, checkpoint, text};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The only test of this program, so that no other thread allocates.
#[test]
fn a_text_allocates_nothing() {
    for shape in &SHAPES {
        let (graph, data) = export::int8(&quantize(&checkpoint(shape, 7), Bits::Eight).unwrap()).split();
        let mut model = Model::load(&graph, data.into(), &Options::default()).unwrap();
        let mut random = Random(1);
        let texts: Vec<_> = (1..=shape.positions).map(|n| text(&mut random, shape.vocabulary, n)).collect();
        let mut logits = vec![0.0; model.classes()];
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for (ids, types) in &texts {
            model.run(ids, types, &mut logits).unwrap();
        }
        let during = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert_eq!(during, 0, "{}", shape.name);
        model.run_plan(&texts[0].0, &texts[0].1, &mut logits).unwrap();
        let turn = ALLOCATIONS.load(Ordering::Relaxed) - before;
        println!("{}: 0 allocations in {} texts, {turn} in a turn of tract's plan", shape.name, texts.len());
    }
}
