//! Runs a real encoder through export and device code: `models/base`, or the Hugging Face folder in
//! `GOLDCREST_CHECKPOINT`.

mod support;

use std::path::Path;

use goldcrest::bert::{Array, Checkpoint};
use goldcrest::export::{self, Onnx};
use goldcrest::quantize::{Bits, quantize};
use goldcrest_edge::model::{Bytes, Model, Options};
use support::{Random, text};

/// A value on the edge between two integers shifts its row, and with it the rounding in the next layers, so
/// the logits of two exact int8 paths can differ by as much as quantization itself changes them. What must
/// hold is that the fused path is about as close to fp32 as the stock one: not twice as far, in squares.
#[test]
fn fused_operators_are_as_close_to_fp32_as_stock_ones() {
    let dir = std::env::var_os("GOLDCREST_CHECKPOINT")
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../models/base").into());
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
        load(export::fp32(&checkpoint).unwrap(), &stock),
        load(export::int8(&quantized), &stock),
        load(export::int8(&quantized), &fused),
    ];
    assert!(models[2].describe().fused.is_some(), "{}", models[2].describe());
    let mut logits = [Vec::new(), Vec::new(), Vec::new()];
    for tokens in (1..=128).step_by(4) {
        let (ids, types) = text(&mut random, checkpoint.config.vocab_size, tokens);
        for (model, all) in models.iter_mut().zip(&mut logits) {
            let mut found = vec![0.0; model.classes()];
            model.run(&ids, &types, &mut found).unwrap();
            all.extend(found);
        }
    }
    let [fp32, int8 @ ..] = &logits;
    let squares = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>();
    let mean = fp32.iter().sum::<f32>() / fp32.len() as f32;
    let spread = squares(&mut fp32.iter().map(|x| x - mean));
    let [stock, fused] = int8.each_ref().map(|int8| squares(&mut int8.iter().zip(fp32).map(|(a, b)| a - b)));
    println!("of the spread of fp32 logits: stock is off by {}, fused by {}", stock / spread, fused / spread);
    assert!(fused < 2.0 * stock && fused < 0.1 * spread, "{stock} {fused} {spread}");
}

fn load(onnx: Onnx, options: &Options) -> Model {
    let (graph, data) = onnx.split();
    Model::load(&graph, Bytes::from(data), options).unwrap()
}
