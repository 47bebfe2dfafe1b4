//! A real encoder through export and device code: `GOLDCREST_CHECKPOINT` names its Hugging Face folder.
//!
//! Prints load times and times a text; only what is computed is asserted.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use goldcrest::bert::{Array, Checkpoint};
use goldcrest::export::{self, Onnx};
use goldcrest::quantize::{Bits, quantize};
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
        checkpoint.tensors.entry(name).or_insert_with(|| {
            let data = (0..shape.iter().product()).map(|_| 0.1 * random.float()).collect();
            Array { shape, data }
        });
    }
    let quantized = quantize(&checkpoint, Bits::Eight).unwrap();
    let stock = Options { fuse: false, max_tokens: 128, ..Default::default() };
    let fused = Options { max_tokens: 128, ..Default::default() };
    let mut models = [
        load("fp32 stock", export::fp32(&checkpoint).unwrap(), &stock),
        load("int8 stock", export::int8(&quantized), &stock),
        load("int8 fused", export::int8(&quantized), &fused),
    ];
    for tokens in [1, 8, 16, 32, 64, 128] {
        let (ids, types) = text(&mut random, checkpoint.config.vocab_size, tokens);
        let times = models.each_mut().map(|model| {
            let mut logits = vec![0.0; model.classes()];
            mean(|| model.run(&ids, &types, &mut logits).unwrap())
        });
        println!("{tokens:3} tokens: {times:?}");
    }

    // One value on the edge between two integers moves its row, and with it where the next layers round: logits of
    // two exact int8 paths differ by as much as quantization itself makes them. What must hold is that the fused path
    // is no further from fp32 than the stock one.
    let texts = 40;
    let mut errors = [0.0f32; 2];
    for _ in 0..texts {
        let (ids, types) = text(&mut random, checkpoint.config.vocab_size, 16);
        let logits = models.each_mut().map(|model| {
            let mut logits = vec![0.0; model.classes()];
            model.run(&ids, &types, &mut logits).unwrap();
            logits
        });
        for (error, int8) in errors.iter_mut().zip(&logits[1..]) {
            let differences = int8.iter().zip(&logits[0]).map(|(a, b)| (a - b).abs());
            *error += differences.fold(0.0, f32::max) / texts as f32;
        }
    }
    println!("mean distance from fp32: stock {}, fused {}", errors[0], errors[1]);
    assert!(errors[1] < 1.5 * errors[0] && errors[1] < 0.05);
}

fn load(name: &str, onnx: Onnx, options: &Options) -> Model {
    let (graph, data) = onnx.split();
    let (sizes, data) = ((graph.len(), data.len()), Bytes::from(data));
    let mut model = None;
    let time = mean(|| model = Some(Model::load(&graph, data.clone(), options).unwrap()));
    let model = model.unwrap();
    println!("{name}: {sizes:?} bytes of graph and data, loaded in {time:?}\n{}", model.describe());
    model
}

/// The mean of runs over half a second: time on the processor where Linux tells it, as others may want it too.
fn mean(mut run: impl FnMut()) -> Duration {
    let (started, before) = (Instant::now(), on_processor());
    let mut runs = 0;
    while started.elapsed() < Duration::from_millis(500) {
        run();
        runs += 1;
    }
    let time = on_processor().zip(before).map_or(started.elapsed(), |(after, before)| after - before);
    time / runs
}

/// How long this thread has been on a processor.
fn on_processor() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
