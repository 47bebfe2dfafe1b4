//! A real encoder through export and device code: `GOLDCREST_CHECKPOINT` names its Hugging Face folder.
//!
//! Prints load times and times a text; only what is computed is asserted.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use goldcrest::bert::{Array, Checkpoint};
use goldcrest::export::{self, Onnx};
use goldcrest::quantize::quantize;
use goldcrest_edge::model::{Bytes, Model, Options};
use support::{Random, text};

#[test]
fn a_real_encoder_exports_loads_and_runs() {
    let Some(dir) = std::env::var_os("GOLDCREST_CHECKPOINT") else {
        return println!("skipped: GOLDCREST_CHECKPOINT is not set");
    };
    let mut checkpoint = Checkpoint::load(Path::new(&dir)).unwrap();
    let mut random = Random(5);
    for (name, shape) in Checkpoint::shapes(&checkpoint.config) {
        if !checkpoint.tensors.contains_key(&name) {
            let data = (0..shape.iter().product()).map(|_| 0.1 * random.float()).collect();
            checkpoint.tensors.insert(name, Array { shape, data });
        }
    }
    let quantized = quantize(&checkpoint).unwrap();
    let stock = Options { fuse: false, max_tokens: 128, ..Default::default() };
    let fused = Options { max_tokens: 128, ..Default::default() };
    let mut models = [
        load("fp32 stock", export::fp32(&checkpoint).unwrap(), &stock),
        load("int8 stock", export::int8(&quantized), &stock),
        load("int8 fused", export::int8(&quantized), &fused),
    ];
    for tokens in [1, 8, 16, 32, 64, 128] {
        let (ids, types) = text(&mut random, checkpoint.config.vocab_size, tokens);
        let results = models.each_mut().map(|model| {
            let mut logits = vec![0.0; model.classes()];
            let time = best(|| model.run(&ids, &types, &mut logits).unwrap());
            (logits, time)
        });
        let difference = |a: usize, b: usize| {
            let pairs = results[a].0.iter().zip(&results[b].0);
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        let times = results.each_ref().map(|r| r.1);
        println!(
            "{tokens:3} tokens: {times:?}; fused differs by {} from stock, by {} from fp32",
            difference(2, 1),
            difference(2, 0)
        );
        assert!(difference(2, 1) < 1e-2 && difference(2, 0) < 5e-2);
    }
}

fn load(name: &str, onnx: Onnx, options: &Options) -> Model {
    let (graph, data) = onnx.split();
    let (sizes, data) = ((graph.len(), data.len()), Bytes::from(data));
    let started = Instant::now();
    let model = Model::load(&graph, data, options).unwrap();
    println!("{name}: {sizes:?} bytes of graph and data, loaded in {:?}\n{}", started.elapsed(), model.describe());
    model
}

/// The shortest of runs over a fifth of a second.
fn best(mut run: impl FnMut()) -> Duration {
    let started = Instant::now();
    let mut best = Duration::MAX;
    while started.elapsed() < Duration::from_millis(200) {
        let run_started = Instant::now();
        run();
        best = best.min(run_started.elapsed());
    }
    best
}
