//! A model that int8 ruins: refused, or packed with the matrices at fault in half precision.

mod support;

use goldcrest::bert::{Checkpoint, Classifier};
use goldcrest::data::{Column, Dataset, LabelColumns, Labels, Source, Task};
use goldcrest::evaluate::{DecisionOptions, Rows, fit_decision, run_bundle};
use goldcrest::metrics;
use goldcrest::quantize::{Bits, quantize};
use goldcrest::recipe::{Files, Progress, Recipe, RunError, Until, run};
use goldcrest::train::{Encoded, predict};
use goldcrest_edge::bundle::Bundle;
use goldcrest_edge::kernels::Isa;
use goldcrest_edge::model::{Bytes, Model, Options};
use std::path::Path;
use support::{Random, SHAPES, SPOILED, checkpoint_with_pieces, spoiled};

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

/// Makes a folder with a spoiled model, `base`, and texts that it labelled in f32: 160 in `train.csv`, 120 in `dev.csv`.
fn spoiled_with_data() -> (tempfile::TempDir, Checkpoint) {
    let (folder, model) = (tempfile::tempdir().unwrap(), spoiled());
    model.save(&folder.path().join("base")).unwrap();
    write_data(&model, &folder.path().join("train.csv"), 1, 160);
    write_data(&model, &folder.path().join("dev.csv"), 2, 120);
    (folder, model)
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
    let (folder, model) = spoiled_with_data();
    let path = |name: &str| folder.path().join(name);
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
        let left: Vec<_> =
            std::fs::read_dir(path("out")).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert!(
            !left.iter().any(|name| name == "spoiled.bundle" || name == "spoiled.candidate.bundle"),
            "{left:?}"
        );
    }

    std::fs::remove_dir_all(path("out")).unwrap();
    let mut steps = Vec::new();
    let finished = run(&recipe(""), Until::Pack, &mut |progress| {
        if let Progress::Step { name, .. } = progress {
            steps.push(name.to_owned());
        }
    });
    let finished = finished.unwrap();
    assert!(steps.iter().any(|step| step == "quantization-aware training"), "it comes first: {steps:?}");
    let comparison = finished.comparison.unwrap();
    assert_eq!(comparison.wide, SPOILED);
    assert!(comparison.markdown().contains("in half precision: bert.encoder.layer.0.intermediate"));

    let bytes = std::fs::read(finished.bundle.unwrap()).unwrap();
    // a test set only measures the accepted bundle; it decides nothing
    let mut tested = recipe("");
    tested.data.test = Some(Files::One(path("test.csv")));
    let measured = run(&tested, Until::Pack, &mut |_| ()).unwrap().comparison.unwrap();
    assert_eq!(
        (measured.rows, measured.of, &measured.wide[..]),
        (40, Some(Rows::Test), &comparison.wide[..])
    );
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

/// A lossy bundle is packed if the recipe allows the loss, and says how large it is.
#[test]
fn a_bundle_holds_what_was_fitted_and_measured() {
    let (folder, _) = spoiled_with_data();
    let path = |name: &str| folder.path().join(name);
    let text = "output = \"out\"\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\n[base]\ncheckpoint = \"base\"\n[task]\n\
                max_tokens = 16\n[train]\nepochs = 0\n[quantize]\nmax_drop = 100\naware = \"never\"\n[pack]\nname = \"lossy\"\n";
    let finished =
        run(&Recipe::parse(text, &path("recipe.toml")).unwrap(), Until::Pack, &mut |_| ()).unwrap();
    let (comparison, bundle) = (finished.comparison.unwrap(), finished.bundle.unwrap());
    let manifest = Bundle::read(&std::fs::read(&bundle).unwrap()).unwrap().manifest().clone();
    let dev = Dataset::read(&[Source::new(path("dev.csv"))], None, None).unwrap();
    let answers = run_bundle(&bundle, &dev, &mut || ()).unwrap();
    let decision = fit_decision(&dev, &answers.logits, &[], &DecisionOptions::default());
    assert!(decision.temperature != 1.0 && manifest.decision == decision, "{:?}", manifest.decision);
    let [measured] = &manifest.measured[..] else { panic!("{:?}", manifest.measured) };
    let shares =
        [&comparison.fp32, &comparison.int8].map(|model| model.metrics.get(comparison.metric).unwrap());
    assert_eq!(([measured.fp32, measured.int8], shares[0]), (shares, 1.0));
    assert!(shares[1] < 0.9, "{shares:?}");
    assert_eq!((measured.rows, measured.data_sha256), (120, dev.digest()));
    assert_eq!(comparison.of, Some(Rows::Dev));
}

#[test]
fn each_model_is_measured_with_its_own_thresholds() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut model = spoiled();
    let names = model.config.labels();
    model.config.set_labels(&names, Task::MultiLabel);
    model.save(&path("base")).unwrap();
    let mut random = Random(3);
    let texts: Vec<String> =
        (0..200).map(|_| (0..5).map(|_| format!("piece{} ", 5 + random.below(695))).collect()).collect();
    let header = format!("text,{}\n", names.join(","));
    let table = |applies: &dyn Fn(usize, usize) -> bool| {
        let row = |(row, text): (usize, &String)| {
            let ones = (0..names.len()).map(|label| if applies(row, label) { ",1" } else { ",0" });
            text.trim().to_owned() + &ones.collect::<String>() + "\n"
        };
        header.clone() + &texts.iter().enumerate().map(row).collect::<String>()
    };
    let source = Source {
        label: Some(LabelColumns::Each(names.iter().cloned().map(Column::Name).collect())),
        ..Source::new(path("data.csv"))
    };
    let read = || Dataset::read(std::slice::from_ref(&source), Some(Task::MultiLabel), None).unwrap();
    std::fs::write(path("data.csv"), table(&|row, label| (row + label) % 2 == 0)).unwrap();
    let encoded = Encoded::new(read(), &model.tokenizer, 16).unwrap();
    let logits = predict(&Classifier::new(model.clone(), 0).unwrap(), &encoded, &mut |_| ()).unwrap();
    // a label applies to the third of the texts whose logit is largest, which is no threshold of one half
    let of_label = |label: usize| logits.iter().skip(label).step_by(names.len()).copied();
    let least: Vec<f32> = (0..names.len())
        .map(|label| {
            let mut sorted: Vec<f32> = of_label(label).collect();
            sorted.sort_by(|a, b| b.total_cmp(a));
            sorted[texts.len() / 3]
        })
        .collect();
    std::fs::write(path("data.csv"), table(&|row, label| logits[row * names.len() + label] > least[label]))
        .unwrap();
    std::fs::copy(path("data.csv"), path("dev.csv")).unwrap();
    let columns = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "output = \"out\"\n[data]\ntrain = \"data.csv\"\ndev = \"dev.csv\"\nremove_overlap = false\nlabel = [{columns}]\n\
         [base]\ncheckpoint = \"base\"\n[task]\nmax_tokens = 16\n[train]\nepochs = 0\n[quantize]\nmax_drop = 100\n\
         aware = \"never\"\n[pack]\nname = \"several\"\n"
    );
    let finished =
        run(&Recipe::parse(&text, &path("recipe.toml")).unwrap(), Until::Pack, &mut |_| ()).unwrap();
    let (comparison, data) = (finished.comparison.unwrap(), read());
    let figure = |bundle: &Path| {
        let answers = run_bundle(bundle, &data, &mut || ()).unwrap();
        let thresholds = metrics::thresholds(&data, &answers.logits);
        assert_eq!(answers.decision.thresholds, thresholds);
        let measured = metrics::measure(&data, &answers.logits, Some(&thresholds)).unwrap();
        (
            measured.get(comparison.metric).unwrap(),
            metrics::predict(&data, &answers.logits, Some(&thresholds)).unwrap(),
        )
    };
    let (fp32, said) = figure(&path("out/several.fp32.bundle"));
    let (int8, rounded) = figure(&path("out/several.bundle"));
    let found =
        [&comparison.fp32, &comparison.int8].map(|model| model.metrics.get(comparison.metric).unwrap());
    assert_eq!(found, [fp32, int8]);
    assert!(fp32 > 0.99 && int8 < 0.95, "{found:?}");
    let agreeing = said.iter().zip(&rounded).filter(|(a, b)| a == b).count() as u64;
    assert_eq!(comparison.agreeing, Some(agreeing));
}

#[test]
fn quantization_aware_training_is_reused_for_the_same_model_only() {
    let (folder, model) = spoiled_with_data();
    let path = |name: &str| folder.path().join(name);
    let reused = |bits: u32| {
        let text = format!(
            "output = \"out\"\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\n[base]\ncheckpoint = \"base\"\n[task]\n\
             max_tokens = 16\n[train]\nepochs = 0\n[quantize]\nmax_drop = 100\naware = \"always\"\nepochs = 1\n\
             embedding_bits = {bits}\n[pack]\nname = \"x\"\n"
        );
        let mut found = None;
        run(&Recipe::parse(&text, &path("recipe.toml")).unwrap(), Until::Pack, &mut |progress| {
            if let Progress::Step { name: "quantization-aware training", reused } = progress {
                found = Some(reused);
            }
        })
        .unwrap();
        found.unwrap()
    };
    assert_eq!([reused(8), reused(8), reused(4), reused(4)], [false, true, false, true]);
    let mut other = model;
    other.tensors.get_mut("classifier.bias").unwrap().data[0] += 1e-3;
    other.save(&path("base")).unwrap();
    assert_eq!([reused(4), reused(4)], [false, true]);
}
