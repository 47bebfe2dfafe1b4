//! Runs exported models on the device's code: fp32 and int8, stock and fused operators, compared with plain
//! f64 loops and with each other.

mod support;

use goldcrest::bert::{Array, Batch, Checkpoint, Mode, Rounding, Tape, Tokens, WORD_EMBEDDINGS};
use goldcrest::data::Text;
use goldcrest::export::{self, Onnx, PackError};
use goldcrest::quantize::{Bits, Quantized, quantize};
use goldcrest_edge::decision::Task;
use goldcrest_edge::kernels::Isa;
use goldcrest_edge::model::{Bytes, Error, Model, Options};
use support::{
    Naive, Random, SHAPES, Shape, checkpoint, checkpoint_with_pieces, difference, int8, manifest, text,
};

fn load(onnx: Onnx, options: &Options) -> Model {
    let (graph, data) = onnx.split();
    Model::load(&graph, data.into(), options).unwrap()
}

fn stock() -> Options {
    Options { fuse: false, ..Default::default() }
}

fn logits(model: &mut Model, (ids, types): &(Vec<u32>, Vec<u8>)) -> Vec<f32> {
    let mut logits = vec![f32::NAN; model.classes()];
    model.run(ids, types, &mut logits).unwrap();
    logits
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|v| v.to_bits()).collect()
}

/// Makes texts of the minimum and maximum length and some lengths between.
fn texts(shape: &Shape) -> Vec<(Vec<u32>, Vec<u8>)> {
    let mut random = Random(shape.hidden as u64);
    let lengths = [1, 2, 3, 9, 17, 32, 64, 65, 128, shape.positions];
    let lengths = lengths.into_iter().filter(|&n| n <= shape.positions);
    lengths.map(|n| text(&mut random, shape.vocabulary, n)).collect()
}

#[test]
fn fp32_on_stock_operators_equals_plain_loops() {
    for shape in &SHAPES {
        let checkpoint = checkpoint(shape, 7);
        let mut model = load(export::fp32(&checkpoint).unwrap(), &Options::default());
        assert!(model.describe().fused.is_none());
        let naive = Naive { checkpoint: &checkpoint, int8: false, words_as_they_are: false };
        for text in texts(shape) {
            let d = difference(&logits(&mut model, &text), &naive.logits(&text.0, &text.1));
            assert!(d < 1e-5, "{}, {} tokens: {d}", shape.name, text.0.len());
        }
    }
}

#[test]
fn int8_fused_equals_plain_loops_and_stock_operators() {
    // Equal up to f32 rounding, except when a value falls on the edge between two integers: that shifts it by
    // 1/127, and random weights carry the shift on undamped.
    let (equal, close) = (1e-5, 5e-2);
    let (mut runs, mut stepped) = (0, 0);
    for shape in &SHAPES {
        let checkpoint = checkpoint(shape, 7);
        let mut fused = load(int8(shape), &Options::default());
        assert!(fused.describe().fused.is_some(), "{}: {}", shape.name, fused.describe());
        let mut stock = load(int8(shape), &stock());
        let naive = Naive { checkpoint: &checkpoint, int8: true, words_as_they_are: false };
        for text in texts(shape) {
            let found = logits(&mut fused, &text);
            let on_stock: Vec<f64> = logits(&mut stock, &text).iter().map(|&v| v.into()).collect();
            let d = [difference(&found, &on_stock), difference(&found, &naive.logits(&text.0, &text.1))];
            println!("{}, {} tokens: stock {:.1e}, loops {:.1e}", shape.name, text.0.len(), d[0], d[1]);
            assert!(d.iter().all(|&d| d < close), "{}, {} tokens: {d:?}", shape.name, text.0.len());
            runs += 1;
            stepped += usize::from(d.iter().any(|&d| d >= equal));
        }
    }
    assert!(stepped * 3 < runs, "{stepped} of {runs} texts differ by more than {equal}");
}

#[test]
fn four_bit_embeddings_equal_plain_loops_and_stock_operators() {
    for shape in SHAPES.iter().filter(|shape| shape.rank.unwrap_or(shape.hidden).is_multiple_of(2)) {
        let mut checkpoint = checkpoint(shape, 7);
        let quantized = quantize(&checkpoint, Bits::Four).unwrap();
        let words = &quantized.matrices[WORD_EMBEDDINGS];
        assert!(words.bits == Bits::Four && words.values.iter().all(|q| q.abs() <= 7));
        checkpoint.tensors.insert(WORD_EMBEDDINGS.into(), words.dequantized());
        let naive = Naive { checkpoint: &checkpoint, int8: true, words_as_they_are: true };
        let mut fused = load(export::int8(&quantized), &Options::default());
        assert!(fused.describe().fused.is_some(), "{}: {}", shape.name, fused.describe());
        let mut on_stock = load(export::int8(&quantized), &stock());
        let mut equal = 0;
        for text in texts(shape) {
            let found = logits(&mut fused, &text);
            let stock: Vec<f64> = logits(&mut on_stock, &text).iter().map(|&v| v.into()).collect();
            let d = [difference(&found, &stock), difference(&found, &naive.logits(&text.0, &text.1))];
            // one shifted value, as above; it matters more with coarser embeddings
            assert!(d.iter().all(|&d| d < 0.1), "{}, {} tokens: {d:?}", shape.name, text.0.len());
            equal += usize::from(d.iter().all(|&d| d < 1e-5));
        }
        assert!(equal > 0, "{}", shape.name);
    }
}

/// Quantizes with every other linear layer's matrix in half precision.
fn some_wide(checkpoint: &Checkpoint) -> Quantized {
    let mut quantized = quantize(checkpoint, Bits::Eight).unwrap();
    let names: Vec<String> = quantized.linear().step_by(2).map(String::from).collect();
    quantized.widen(checkpoint, names.iter().map(String::as_str));
    assert!(names.iter().all(|name| quantized.wide().any(|wide| wide == name)));
    quantized
}

#[test]
fn weights_too_large_for_half_precision_become_the_largest() {
    let mut large = checkpoint(&SHAPES[0], 7);
    large.tensors.get_mut("classifier.weight").unwrap().data[..3].copy_from_slice(&[1e6, -1e6, 1e4]);
    let mut quantized = quantize(&large, Bits::Eight).unwrap();
    quantized.widen(&large, ["classifier.weight"]);
    assert_eq!(quantized.tensors["classifier.weight"].data[..3], [65_504.0, -65_504.0, 1e4]);
}

#[test]
fn matrices_in_half_precision_equal_stock_operators() {
    let (mut equal, mut all) = (0, 0);
    for shape in &SHAPES {
        let quantized = some_wide(&checkpoint(shape, 7));
        let mut fused = load(export::int8(&quantized), &Options::default());
        assert!(fused.describe().to_string().contains("matrices in f32"), "{}", fused.describe());
        let mut on_stock = load(export::int8(&quantized), &stock());
        let mut plain =
            load(export::int8(&quantized), &Options { isa: Some(Isa::Portable), ..Default::default() });
        for text in texts(shape) {
            let found = logits(&mut fused, &text);
            assert_eq!(bits(&found), bits(&logits(&mut plain, &text)), "{}", shape.name);
            let stock: Vec<f64> = logits(&mut on_stock, &text).iter().map(|&v| v.into()).collect();
            let d = difference(&found, &stock);
            assert!(d < 0.1, "{}, {} tokens: {d}", shape.name, text.0.len());
            (equal, all) = (equal + usize::from(d < 1e-5), all + 1);
        }
    }
    assert!(equal * 2 > all, "{equal} of {all}");
}

/// In quantization-aware training, the forward pass matches that of the device.
#[test]
fn rounded_forward_pass_matches_the_device() {
    for (shape, bits) in SHAPES.iter().flat_map(|shape| [(shape, Bits::Eight), (shape, Bits::Four)]) {
        let checkpoint = checkpoint(shape, 7);
        let mut device = load(export::int8(&quantize(&checkpoint, bits).unwrap()), &Options::default());
        let mut model = goldcrest::bert::Classifier::new(checkpoint, 0).unwrap();
        model.round(Some(Rounding { embeddings: bits, only: None }));
        let (mut tape, mut equal, mut all) = (Tape::default(), 0, 0);
        for (ids, type_ids) in texts(shape) {
            let found = logits(&mut device, &(ids.clone(), type_ids.clone()));
            let batch = Batch::new([&Tokens { ids, type_ids }].into_iter(), 0);
            let output = model.forward(&batch, Mode::Evaluate, &mut tape).unwrap();
            let wanted: Vec<f64> = output.logits.iter().map(|&v| v.into()).collect();
            let d = difference(&found, &wanted);
            assert!(d < 0.1, "{}: {d}", shape.name);
            (equal, all) = (equal + usize::from(d < 1e-4), all + 1);
        }
        assert!(equal * 2 > all, "{}: {equal} of {all}", shape.name);
    }
}

/// A bundle read back and quantized again is the same model.
#[test]
fn bundles_convert_back_to_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bundle");
    for shape in &SHAPES {
        let mut whole = checkpoint(shape, 7);
        whole.tokenizer.vocab = "[UNK]\n[CLS]\n[SEP]\n[PAD]\n[MASK]\n".into();
        (5..shape.vocabulary).for_each(|i| whole.tokenizer.vocab += &format!("piece{i}\n"));
        // nothing as it is by default
        (whole.config.pad_token_id, whole.config.layer_norm_eps) = (3, 1e-5);
        (whole.tokenizer.lowercase, whole.tokenizer.strip_accents) = (false, Some(true));
        whole.tokenizer.chinese_chars = false;
        let task = if shape.labels == 1 { Task::Regression } else { Task::SingleLabel };
        let bits = [Bits::Eight, Bits::Four].map(|bits| quantize(&whole, bits).unwrap());
        for quantized in bits.into_iter().chain([some_wide(&whole)]) {
            let bundle =
                export::pack(&manifest(&whole, task), export::int8(&quantized), &whole.tokenizer.vocab, &[]);
            std::fs::write(&path, bundle.unwrap()).unwrap();
            let read = export::checkpoint(&path).unwrap();
            assert_eq!(read.config.layers(), whole.config.layers(), "{}", shape.name);
            assert_eq!(read.config.labels(), whole.config.labels());
            assert_eq!(read.tokenizer, whole.tokenizer);
            let numbers =
                |model: &Checkpoint| (model.config.pad_token_id, model.config.layer_norm_eps as f32);
            assert_eq!(numbers(&read), numbers(&whole));
            for (name, matrix) in &quantized.matrices {
                assert_eq!(read.tensors[name], matrix.dequantized(), "{}: {name}", shape.name);
            }
            for (name, array) in &quantized.tensors {
                assert_eq!(&read.tensors[name], array, "{}: {name}", shape.name);
            }
        }
    }
    std::fs::write(&path, b"something else").unwrap();
    let error = export::checkpoint(&path).unwrap_err().to_string();
    assert!(error.contains("a.bundle"), "{error}");
}

#[test]
fn all_paths_and_instruction_sets_give_the_same_bits() {
    for shape in &SHAPES {
        let mut plain = load(int8(shape), &Options { isa: Some(Isa::Portable), ..Default::default() });
        let available = Isa::ALL.into_iter().filter(|isa| isa.available());
        let mut others: Vec<Model> = available
            .map(|isa| load(int8(shape), &Options { isa: Some(isa), ..Default::default() }))
            .collect();
        for text in texts(shape) {
            let wanted = bits(&logits(&mut plain, &text));
            let mut turn = vec![0.0; plain.classes()];
            plain.run_plan(&text.0, &text.1, &mut turn).unwrap();
            assert_eq!(bits(&turn), wanted, "{}: tract's plan", shape.name);
            for model in &mut others {
                let found = bits(&logits(model, &text));
                assert_eq!(found, wanted, "{}, {} tokens: {}", shape.name, text.0.len(), model.describe());
            }
        }
    }
}

#[test]
fn every_length_runs_and_texts_leave_no_trace() {
    let shape = &SHAPES[5];
    let mut model = load(int8(shape), &Options::default());
    let mut random = Random(3);
    let texts: Vec<_> = (1..=shape.positions).map(|n| text(&mut random, shape.vocabulary, n)).collect();
    let upwards: Vec<_> = texts.iter().map(|t| bits(&logits(&mut model, t))).collect();
    let mut downwards: Vec<_> = texts.iter().rev().map(|t| bits(&logits(&mut model, t))).collect();
    downwards.reverse();
    assert_eq!(upwards, downwards);
}

#[test]
fn one_file_and_external_data_are_the_same_model() {
    let shape = &SHAPES[2];
    let (graph, data) = int8(shape).split();
    assert!(data.len() > 5 * graph.len(), "{} bytes of graph, {} of data", graph.len(), data.len());
    let mut whole = Model::load(&int8(shape).to_bytes(), Bytes::new(), &Options::default()).unwrap();
    let mut split = load(int8(shape), &Options::default());
    for text in texts(shape) {
        assert_eq!(bits(&logits(&mut whole, &text)), bits(&logits(&mut split, &text)));
    }
}

#[test]
fn unsupported_graphs_run_on_stock_operators() {
    let shape = Shape {
        name: "one wide head",
        vocabulary: 30,
        hidden: 160,
        head_size: 160,
        layers: &[(1, 64)],
        rank: None,
        pooler: None,
        positions: 12,
        labels: 2,
    };
    let checkpoint = checkpoint(&shape, 7);
    let mut model = load(int8(&shape), &Options::default());
    let reason = model.describe().stock.unwrap();
    assert!(reason.contains("heads of 160"), "{reason}");
    let text = text(&mut Random(1), shape.vocabulary, 12);
    let naive = Naive { checkpoint: &checkpoint, int8: true, words_as_they_are: false };
    assert!(difference(&logits(&mut model, &text), &naive.logits(&text.0, &text.1)) < 5e-2);
    // other processors would give other bits
    let whole = checkpoint_with_pieces(&shape, 7);
    let pack = |golden: &[Text]| {
        export::pack(&manifest(&whole, Task::SingleLabel), int8(&shape), &whole.tokenizer.vocab, golden)
    };
    assert!(pack(&[]).is_ok());
    let refused = pack(&[("piece5".into(), None)]).unwrap_err();
    assert!(matches!(&refused, PackError::Stock(reason) if reason.contains("heads of 160")), "{refused}");
}

#[test]
fn wrong_input_is_named() {
    let shape = &SHAPES[0];
    let mut model = load(int8(shape), &Options { max_tokens: 8, ..Default::default() });
    let mut out = [0.0; 2];
    assert!(matches!(model.run(&[], &[], &mut out), Err(Error::Empty)));
    assert!(matches!(model.run(&[1; 9], &[0; 9], &mut out), Err(Error::TooLong { tokens: 9, max: 8 })));
    assert!(matches!(model.run(&[1, 97], &[0; 2], &mut out), Err(Error::TokenId { id: 97, vocabulary: 97 })));
    assert!(matches!(model.run(&[1, 2], &[0, 2], &mut out), Err(Error::TypeId { id: 2, types: 2 })));
    assert!(matches!(model.run(&[1, 2], &[0], &mut out), Err(Error::Length { found: 1, expected: 2, .. })));
    assert!(matches!(model.run(&[1], &[0], &mut out[..1]), Err(Error::Length { what: "logits", .. })));
    // the positions limit it if the options allow more
    assert_eq!(load(int8(shape), &Options::default()).max_tokens(), 40);
}

#[test]
fn invalid_checkpoints_are_not_quantized() {
    let mut bad = checkpoint(&SHAPES[0], 7);
    bad.tensors.get_mut("classifier.weight").unwrap().data[3] = f32::NAN;
    let message = quantize(&bad, Bits::Eight).unwrap_err().to_string();
    assert!(message.contains("classifier.weight") && message.contains("NaN"), "{message}");
    bad.tensors.remove("classifier.weight");
    let message = quantize(&bad, Bits::Eight).unwrap_err().to_string();
    assert!(message.contains("classifier.weight") && message.contains("train"), "{message}");
    // one label more than the configuration has, and a transposed matrix
    for (name, shape) in [("classifier.bias", &[3][..]), ("classifier.weight", &[32, 2])] {
        let mut bad = checkpoint(&SHAPES[0], 7);
        bad.tensors.insert(name.into(), Array::zeros(shape));
        let message = quantize(&bad, Bits::Eight).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains(&format!("{shape:?}")), "{message}");
    }
}

#[test]
fn external_data_stays_within_its_section() {
    let (graph, data) = int8(&SHAPES[2]).split();
    let replaced = |from: &str, to: &str| {
        let mut graph = graph.clone();
        let at: Vec<usize> =
            (0..graph.len() - from.len()).filter(|&i| graph[i..].starts_with(from.as_bytes())).collect();
        assert!(!at.is_empty() && from.len() == to.len());
        at.iter().for_each(|&i| graph[i..][..to.len()].copy_from_slice(to.as_bytes()));
        graph
    };
    for fuse in [true, false] {
        let options = Options { fuse, ..Default::default() };
        let refused = |graph: &[u8], data: &[u8]| {
            let result = Model::load(graph, Bytes::copy_from_slice(data), &options);
            assert!(matches!(result, Err(Error::Tensor { .. })), "{:?}", result.err());
        };
        refused(&replaced("model.onnx.data", "../../etc/fstab"), &data);
        refused(&graph, &data[..data.len() - 1]);
        refused(&graph, &[]);
    }
}

#[test]
fn damaged_graphs_are_refused_or_run_but_never_panic() {
    let (graph, data) = int8(&SHAPES[0]).split();
    let data = Bytes::from(data);
    let mut random = Random(11);
    for round in 0..2000 {
        let mut bad = graph.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bad.len());
            bad[at] ^= 1 << random.below(8);
        }
        if round % 8 == 0 {
            bad.truncate(random.below(bad.len()));
        }
        if let Ok(mut model) = Model::load(&bad, data.clone(), &Options::default())
            && model.classes() < 100
        {
            let mut out = vec![0.0; model.classes()];
            let _ = model.run(&[1, 2, 3], &[0, 0, 1], &mut out);
        }
    }
}

/// Needs `onnx` and `onnxruntime` from PyPI in `GOLDCREST_ONNXRUNTIME_PYTHON` (or `python3`).
#[test]
fn onnx_runtime_gives_the_same_labels() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/check_onnx.py");
    let python = std::env::var("GOLDCREST_ONNXRUNTIME_PYTHON").unwrap_or_else(|_| "python3".into());
    let dir = tempfile::tempdir().unwrap();
    let mut arguments = vec![];
    for (i, shape) in SHAPES.iter().enumerate() {
        let fp32 = export::fp32(&checkpoint(shape, 7)).unwrap();
        let other = export::int8_unsigned(&quantize(&checkpoint(shape, 7), Bits::Eight).unwrap());
        let four = quantize(&checkpoint(shape, 7), Bits::Four).unwrap();
        let wide = some_wide(&checkpoint(shape, 7));
        for (kind, onnx, model) in [
            ("fp32", fp32.to_bytes(), fp32),
            ("int8", other.to_bytes(), int8(shape)),
            ("four bits", export::int8_unsigned(&four).to_bytes(), export::int8(&four)),
            ("wide", export::int8_unsigned(&wide).to_bytes(), export::int8(&wide)),
        ] {
            let mut model = load(model, &Options::default());
            let cases: Vec<_> = texts(shape)
                .into_iter()
                .map(|t| serde_json::json!({"logits": logits(&mut model, &t), "ids": t.0, "types": t.1}))
                .collect();
            let path = dir.path().join(format!("{i}-{kind}.onnx"));
            std::fs::write(&path, onnx).unwrap();
            std::fs::write(path.with_extension("json"), serde_json::to_vec(&cases).unwrap()).unwrap();
            arguments.push(path);
        }
    }
    let output = match std::process::Command::new(&python).arg(script).args(arguments).output() {
        Ok(output) => output,
        Err(e) => return support::skip(format_args!("ONNX Runtime, {python} does not start: {e}")),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}{}", text(&output.stdout), text(&output.stderr));
    match output.status.code() {
        Some(77) => support::skip(format_args!("ONNX Runtime, {python} has no onnx or onnxruntime")),
        code => assert_eq!(code, Some(0)),
    }
}
