//! A model that int8 ruins: refused, or packed with the matrices at fault in half precision.

mod support;

use goldcrest::bert::{Checkpoint, Classifier};
use goldcrest::data::{Dataset, Labels, Source, Task};
use goldcrest::quantize::{Bits, quantize};
use goldcrest::recipe::{Files, Recipe, RunError, Until, run};
use goldcrest::train::{Encoded, predict};
use goldcrest_edge::bundle::Bundle;
use goldcrest_edge::kernels::Isa;
use goldcrest_edge::model::{Bytes, Model, Options};
use std::path::Path;
use support::{Random, SHAPES, checkpoint_with_pieces};

const SPOILED: [&str; 2] =
    ["bert.encoder.layer.0.intermediate.dense.weight", "bert.encoder.layer.1.intermediate.dense.weight"];

/// Makes a random classifier in which two matrices have large weights for an input that is always zero. They
/// are harmless in f32, but determine the int8 scale of all other weights, and no training changes them.
fn spoiled() -> Checkpoint {
    let shape = &SHAPES[2];
    let mut model = checkpoint_with_pieces(shape, 7);
    model
        .config
        .set_labels(&(0..shape.labels).map(|i| format!("label{i}")).collect::<Vec<_>>(), Task::SingleLabel);
    for matrix in SPOILED {
        let layer = matrix.strip_suffix("intermediate.dense.weight").unwrap();
        for part in ["weight", "bias"] {
            let name = format!("{layer}attention.output.LayerNorm.{part}");
            model.tensors.get_mut(&name).unwrap().data[0] = 0.0;
        }
        let rows = model.tensors.get_mut(matrix).unwrap().data.chunks_exact_mut(shape.hidden);
        rows.for_each(|row| row[0] = 500.0);
    }
    model
}

/// Writes random texts with the labels that the model gives them.
fn write_data(model: &Checkpoint, path: &Path, seed: u64, rows: usize) {
    let mut random = Random(seed);
    let mut text = || {
        let pieces = (0..3 + random.below(8)).map(|_| format!("piece{}", 5 + random.below(695)));
        pieces.collect::<Vec<_>>().join(" ")
    };
    let texts: Vec<String> = (0..rows).map(|_| text()).collect();
    let labels = model.config.labels();
    let write = |label: &dyn Fn(usize) -> String| {
        let lines = texts.iter().enumerate().map(|(i, text)| format!("{text},{}\n", label(i)));
        std::fs::write(path, "text,label\n".to_string() + &lines.collect::<String>()).unwrap();
    };
    write(&|i| labels[i % labels.len()].clone());
    let names = Labels::ordered(labels.clone()).unwrap();
    let data = Dataset::read(&[Source::new(path)], Some(Task::SingleLabel), Some(names)).unwrap();
    let encoded = Encoded::new(data, &model.tokenizer, 16).unwrap();
    let logits = predict(&Classifier::new(model.clone(), 0).unwrap(), &encoded, &mut |_| ()).unwrap();
    let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    write(&|i| labels[best(&logits[i * labels.len()..][..labels.len()])].clone());
}

#[test]
fn keys_and_values_are_widened_together() {
    let model = checkpoint_with_pieces(&SHAPES[2], 7);
    let matrix = |part: &str| format!("bert.encoder.layer.1.attention.self.{part}.weight");
    for (asked, wide) in [("key", &["key", "value"][..]), ("value", &["key", "value"]), ("query", &["query"])]
    {
        let mut quantized = quantize(&model, Bits::Eight).unwrap();
        quantized.widen(&model, [matrix(asked).as_str()]);
        assert_eq!(
            quantized.wide().collect::<Vec<_>>(),
            wide.iter().map(|part| matrix(part)).collect::<Vec<_>>()
        );
        assert!(wide.iter().all(|part| quantized.linear().all(|name| name != matrix(part))));
    }
}

#[test]
fn half_precision_is_the_last_resort() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let model = spoiled();
    model.save(&path("base")).unwrap();
    write_data(&model, &path("train.csv"), 1, 160);
    write_data(&model, &path("dev.csv"), 2, 120);
    write_data(&model, &path("test.csv"), 3, 40);
    let recipe = |quantize: &str| {
        let text = format!(
            "output = \"out\"\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\n[base]\ncheckpoint = \"base\"\n[task]\n\
             max_tokens = 16\n[train]\nepochs = 0\n[quantize]\nmax_drop = 10\n{quantize}\n[pack]\nname = \"spoiled\"\n"
        );
        Recipe::parse(&text, &path("recipe.toml")).unwrap()
    };
    for refused in ["aware = \"never\"", "wider = false"] {
        let error = run(&recipe(refused), Until::Pack, &mut |_| ()).unwrap_err();
        assert!(matches!(error, RunError::Refused { .. }), "{refused}: {error}");
        let message = error.to_string();
        assert!(message.contains("classes that suffered") && message.contains("label"), "{message}");
        assert!(!path("out/spoiled.bundle").exists());
    }

    let finished = run(&recipe(""), Until::Pack, &mut |_| ()).unwrap();
    let comparison = finished.comparison.unwrap();
    assert_eq!(comparison.wide, SPOILED);
    assert!(comparison.markdown().contains("in half precision: bert.encoder.layer.0.intermediate"));

    let bytes = std::fs::read(finished.bundle.unwrap()).unwrap();
    // a test set only measures the accepted bundle; it decides nothing
    let mut tested = recipe("");
    tested.data.test = Some(Files::One(path("test.csv")));
    let measured = run(&tested, Until::Pack, &mut |_| ()).unwrap().comparison.unwrap();
    assert_eq!((measured.rows, &measured.wide[..]), (40, &comparison.wide[..]));
    tested.quantize.wider = false;
    match run(&tested, Until::Pack, &mut |_| ()).unwrap_err() {
        RunError::Refused { refusal, .. } => {
            assert_eq!(refusal.classes.iter().map(|class| class.support).sum::<u64>(), 120, "dev refuses");
        }
        error => panic!("{error}"),
    }

    let bundle = Bundle::read(&bytes).unwrap();
    let mut answers = Vec::new();
    for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
        let options = Options { isa: Some(isa), ..Default::default() };
        let external = Bytes::copy_from_slice(bundle.external());
        let mut model = Model::load(bundle.model(), external, &options).unwrap();
        assert!(model.describe().to_string().contains("2 matrices in f32"), "{}", model.describe());
        let mut logits = [0.0; 5];
        model.run(&[2, 50, 60, 70, 3], &[0; 5], &mut logits).unwrap();
        answers.push(logits.map(f32::to_bits));
    }
    assert!(answers.iter().all(|bits| *bits == answers[0]));
}

#[test]
fn dropping_needed_word_pieces_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut model = spoiled();
    // with all characters as pieces, any other piece can be dropped
    let alone = "piec0123456789".chars().flat_map(|c| [c.to_string(), format!("##{c}")]).collect::<Vec<_>>();
    let mut pieces: Vec<String> = model.tokenizer.pieces().map(String::from).collect();
    let rest = pieces.len() - alone.len();
    pieces.splice(rest.., alone);
    model.tokenizer.vocab = pieces.join("\n") + "\n";
    model.save(&path("base")).unwrap();
    write_data(&model, &path("train.csv"), 1, 160);
    write_data(&model, &path("dev.csv"), 2, 120);
    std::fs::create_dir(path("out")).unwrap();
    std::fs::write(path("out/x.bundle"), "of an earlier run").unwrap();
    let text = "output = \"out\"\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\n[base]\ncheckpoint = \"base\"\n\
                [task]\nmax_tokens = 16\n[train]\nepochs = 0\n[quantize]\nmax_drop = 10\n[pack]\nname = \"x\"\nvocabulary = 60\n";
    match run(&Recipe::parse(text, &path("recipe.toml")).unwrap(), Until::Pack, &mut |_| ()).unwrap_err() {
        RunError::Pruned { bundle, cost, .. } => assert!(cost > 10.0 && !bundle.exists(), "{cost}"),
        error => panic!("{error}"),
    }
    // the report is of this run: the model as trained knows all pieces
    assert!(std::fs::read_to_string(path("out/report.md")).unwrap().contains("| 100.00"));
}
