//! ONNX models exported by other tools run on tract's stock operators. The files, and the logits that PyTorch
//! gives, were recorded by `scripts/record-foreign-onnx.py`.

use goldcrest_edge::model::{Bytes, Model, Options};

fn check(onnx: &[u8], types: [u8; 11], wanted: [f32; 3]) {
    let mut model = Model::load(onnx, Bytes::new(), &Options::default()).unwrap();
    let description = model.describe();
    assert!(description.fused.is_none() && description.stock.is_some(), "{description}");
    let ids: Vec<u32> = (1..12).collect();
    let mut logits = [0.0; 3];
    model.run(&ids, &types, &mut logits).unwrap();
    let difference = logits.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 1e-5, "{logits:?}, PyTorch {wanted:?}");
    for tokens in 1..=ids.len() {
        model.run(&ids[..tokens], &types[..tokens], &mut logits).unwrap();
        assert!(logits.iter().all(|l| l.is_finite()));
    }
}

#[test]
fn a_transformers_export_runs() {
    let types = std::array::from_fn(|i| u8::from(i >= 6));
    check(include_bytes!("data/transformers-bert.onnx"), types, [-1.619372, 1.209622, 0.685778]);
}

#[test]
fn int32_inputs_in_another_order_without_token_types_run() {
    check(include_bytes!("data/transformers-two-inputs.onnx"), [0; 11], [-1.754772, 0.647866, 0.489644]);
}
