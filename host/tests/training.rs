//! Training runs of a tiny model: it learns, is reproducible, and resumes after an interruption.

use std::cell::{Cell, RefCell};
use std::path::Path;

use goldcrest::bert::{
    Batch, Checkpoint, Classifier, Config, InputFormat, Output, OutputGradient, TokenizerFiles,
};
use goldcrest::data::{Dataset, Example, Labels, Target, Task};
use goldcrest::distill::{Distill, FromTeacher, HiddenTeacher, cut_layers};
use goldcrest::metrics::Metric;
use goldcrest::train::{
    Criterion, Encoded, Error, Event, Job, Objective, Summary, Supervised, TargetScale, TrainOptions,
    predict, predict_with_vectors, remove_state, set_head, train,
};

const WORDS: [&str; 8] = ["red", "green", "blue", "fast", "slow", "high", "low", "warm"];

fn checkpoint() -> Checkpoint {
    let vocab: String =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].iter().chain(&WORDS).map(|w| format!("{w}\n")).collect();
    let mut config: Config = serde_json::from_value(serde_json::json!({
        "vocab_size": 12, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    }))
    .unwrap();
    config.set_labels(&["no".into(), "yes".into()], Task::SingleLabel);
    let tokenizer =
        TokenizerFiles { vocab, lowercase: true, strip_accents: None, chinese_chars: true, max_length: 16 };
    Checkpoint { config, tensors: Default::default(), tokenizer }
}

/// Makes texts of four words, labelled `yes` if "warm" is among them.
fn data(rows: usize, from: usize) -> Dataset {
    let examples = (from..from + rows).map(|i| {
        let words: Vec<&str> = (0..4).map(|k| WORDS[(i * 7 + k * k * 3 + i / 5 * k) % 8]).collect();
        let target = Target::Class(u32::from(words.contains(&"warm")));
        Example::new(words.join(" "), target)
    });
    let labels = Labels::ordered(vec!["no".into(), "yes".into()]).unwrap();
    Dataset { task: Task::SingleLabel, labels, examples: examples.collect(), files: vec![] }
}

fn options() -> TrainOptions {
    TrainOptions {
        epochs: Some(10.0),
        batch_size: 8,
        learning_rate: Some(5e-3),
        eval_every: Some(10),
        seed: 3,
        ..Default::default()
    }
}

/// Fails after some updates, like a kill between two saved states.
struct Interrupted<'a>(&'a dyn Objective, Cell<usize>);

impl Objective for Interrupted<'_> {
    fn loss(&self, e: &Encoded, rows: &[u32], b: &Batch, o: &Output) -> Result<(f64, OutputGradient), Error> {
        self.1.set(self.1.get() - 1);
        if self.1.get() == 0 { Err(Error::Empty) } else { self.0.loss(e, rows, b, o) }
    }

    fn target_scale(&self) -> TargetScale {
        self.0.target_scale()
    }
}

fn run(
    objective: Option<&dyn Objective>,
    options: &TrainOptions,
    folder: &Path,
) -> Result<(Summary, Classifier), Error> {
    run_from(checkpoint(), objective, options, folder)
}

fn run_from(
    checkpoint: Checkpoint,
    objective: Option<&dyn Objective>,
    options: &TrainOptions,
    folder: &Path,
) -> Result<(Summary, Classifier), Error> {
    run_watched(checkpoint, objective, options, folder, &mut |_| ())
}

fn run_watched(
    checkpoint: Checkpoint,
    objective: Option<&dyn Objective>,
    options: &TrainOptions,
    folder: &Path,
    watch: &mut dyn FnMut(Event),
) -> Result<(Summary, Classifier), Error> {
    run_job(checkpoint, objective, options, "test", folder, watch)
}

fn run_job(
    checkpoint: Checkpoint,
    objective: Option<&dyn Objective>,
    options: &TrainOptions,
    fingerprint: &str,
    folder: &Path,
    watch: &mut dyn FnMut(Event),
) -> Result<(Summary, Classifier), Error> {
    let mut model = Classifier::new(checkpoint, 1)?;
    let (train_data, dev) = (data(96, 0), data(40, 1000));
    let supervised = Supervised::new(&train_data, options)?;
    let encode = |data| Encoded::new(data, model.tokenizer(), 16);
    let (train_data, dev) = (encode(train_data)?, encode(dev)?);
    let mut job = Job {
        model: &mut model,
        train: &train_data,
        dev: Some((&dev, Criterion { metric: Metric::Accuracy, thresholds: true })),
        options,
        objective: objective.unwrap_or(&supervised),
        folder,
        fingerprint,
    };
    let summary = train(&mut job, watch)?;
    Ok((summary, model))
}

fn weights(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("model.safetensors")).unwrap()
}

#[test]
fn learns_and_repeats_itself() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (summary, _) = run(None, &options(), a.path()).unwrap();
    assert!(summary.best > 0.9, "{summary:?}");
    run(None, &options(), b.path()).unwrap();
    assert_eq!(weights(a.path()), weights(b.path()));
    let log = std::fs::read_to_string(a.path().join("metrics.jsonl")).unwrap();
    assert!(
        log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
            && log.contains("\"dev\"")
            && !log.contains("confusion")
    );
    remove_state(a.path()).unwrap();
    assert!(!a.path().join("state.safetensors").exists() && !a.path().join("best").exists());
    remove_state(a.path()).unwrap();
}

#[test]
fn invalid_jobs_are_refused() {
    let refused = |options: TrainOptions| {
        let folder = tempfile::tempdir().unwrap();
        run(None, &options, folder.path()).err().map(|error| error.to_string()).unwrap()
    };
    let none = refused(TrainOptions { batch_size: 0, ..options() });
    assert!(none.contains("train.batch_size"), "{none}");
    let endless = refused(TrainOptions { epochs: Some(f64::NAN), ..options() });
    assert!(endless.contains("train.epochs"), "{endless}");
    let of_labels = |names: [&str; 2], task| {
        let (folder, mut model) = (tempfile::tempdir().unwrap(), checkpoint());
        model.config.set_labels(&names.map(String::from), task);
        run_from(model, None, &options(), folder.path()).err().map(|error| error.to_string())
    };
    for (names, task) in [(["yes", "no"], Task::SingleLabel), (["no", "yes"], Task::MultiLabel)] {
        let error = of_labels(names, task).unwrap();
        assert!(error.contains("whose task is single-label, with the labels no, yes"), "{error}");
    }
    // without dev, too
    let mut numbers = data(8, 0);
    (numbers.task, numbers.labels) = (Task::Regression, Labels::default());
    numbers.examples.iter_mut().for_each(|example| example.target = Target::number(0.5));
    let mut model = Classifier::new(checkpoint(), 1).unwrap();
    let encoded = Encoded::new(numbers, model.tokenizer(), 16).unwrap();
    let (options, folder) = (&options(), tempfile::tempdir().unwrap());
    let objective = &Supervised::new(&encoded.data, options).unwrap();
    let (model, train_data, folder, fingerprint) = (&mut model, &encoded, folder.path(), "");
    let mut job = Job { model, train: train_data, dev: None, options, objective, folder, fingerprint };
    let error = train(&mut job, &mut |_| ()).unwrap_err().to_string();
    assert_eq!(error, "the data has 1 labels, the model 2");
}

/// The model is wide enough for several threads to share its products.
#[test]
fn threads_change_no_bit() {
    let trained = |threads: usize| {
        let folder = tempfile::tempdir().unwrap();
        let mut wide = checkpoint();
        (wide.config.hidden_size, wide.config.intermediate_size) = (192, 768);
        let options = TrainOptions { epochs: Some(0.5), batch_size: 32, adversarial: Some(0.5), ..options() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run_from(wide, None, &options, folder.path()).map(drop).unwrap());
        weights(folder.path())
    };
    let one = trained(1);
    assert!([2, 3, 5].into_iter().all(|threads| trained(threads) == one));
}

#[test]
fn stopping_a_run_loses_no_step() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // otherwise it would never be saved
    let options =
        TrainOptions { save_every: 1e9, eval_every: Some(5), average: 0.9, patience: Some(100), ..options() };
    let (expected, _) = run(None, &options, whole.path()).unwrap();
    // in the first evaluation, after a step, in another evaluation, in the last one
    let mut began = Vec::new();
    let mut stop_at = |evaluation: bool, number: u64| {
        let mut step_now = 0;
        let mut ask = |event: Event| match event {
            Event::Started { done, .. } => {
                began.push(done);
                step_now = done;
            }
            Event::Step { step, stop, .. } => {
                step_now = step;
                stop.set(!evaluation && step == number);
            }
            Event::Evaluating { stop, .. } => stop.set(evaluation && step_now == number),
            _ => {}
        };
        run_watched(checkpoint(), None, &options, cut.path(), &mut ask)
    };
    let mut steps = 0;
    for (evaluation, number) in [(true, 0), (false, 7), (true, 10)] {
        match stop_at(evaluation, number) {
            Err(Error::Interrupted { step, steps: all }) if step == number => steps = all,
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(matches!(stop_at(true, steps), Err(Error::Interrupted { step, .. }) if step == steps));
    let (summary, _) = stop_at(false, u64::MAX).unwrap();
    assert_eq!(Summary { seconds: expected.seconds, ..summary }, expected);
    assert_eq!(began, [0, 0, 7, 10, steps]);
    assert_eq!(weights(whole.path()), weights(cut.path()));
    let log = |folder: &Path| {
        let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines
            .map(|line| (line["step"].clone(), line["dev"].clone(), line["loss"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(log(whole.path()), log(cut.path()));
}

#[test]
fn an_interrupted_run_ends_with_the_same_weights() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // covers adversarial perturbation, and a saved state with an average of the weights
    let options = TrainOptions { average: 0.9, adversarial: Some(0.5), save_every: 0.0, ..options() };
    run(None, &options, whole.path()).unwrap();
    let supervised = Supervised::new(&data(96, 0), &options).unwrap();
    let interrupted = Interrupted(&supervised, Cell::new(58));
    assert!(run(Some(&interrupted), &options, cut.path()).is_err());
    let state = cut.path().join("state.safetensors");
    let saved = std::fs::read(&state).unwrap();
    run(None, &options, cut.path()).unwrap();
    assert_eq!(weights(whole.path()), weights(cut.path()));
    // damaged states are ignored, and a state whose best checkpoint is lost
    let mut flipped = saved.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [&[], &saved[..saved.len() / 2], &flipped[..], &saved[..]] {
        std::fs::write(&state, damaged).unwrap();
        if damaged == saved {
            std::fs::write(cut.path().join("best/model.safetensors"), []).unwrap();
        }
        run(None, &options, cut.path()).unwrap();
        assert_eq!(weights(whole.path()), weights(cut.path()));
    }
}

#[test]
fn only_the_state_of_the_same_job_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions { epochs: Some(2.0), save_every: 0.0, ..options() };
    let supervised = Supervised::new(&data(96, 0), &options).unwrap();
    let interrupted = Interrupted(&supervised, Cell::new(15));
    assert!(run(Some(&interrupted), &options, folder.path()).is_err());
    let state = folder.path().join("state.safetensors");
    let saved = std::fs::read(&state).unwrap();
    let resumes = |checkpoint: Checkpoint, fingerprint: &str| {
        std::fs::write(&state, &saved).unwrap();
        let mut began = None;
        let mut watch = |event: Event| {
            if let Event::Started { done, .. } = event {
                began = Some(done);
            }
        };
        run_job(checkpoint, None, &options, fingerprint, folder.path(), &mut watch).unwrap();
        began.unwrap() > 0
    };
    assert!(resumes(checkpoint(), "test"));
    assert!(!resumes(checkpoint(), "another"));
    let mut wider = checkpoint();
    wider.config.intermediate_size = 48;
    assert!(!resumes(wider, "test"));
    std::fs::remove_dir_all(folder.path().join("best")).unwrap();
    assert!(!resumes(checkpoint(), "test"), "the best checkpoint is lost");
}

#[test]
fn first_and_last_steps_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions { epochs: Some(1.0), eval_every: Some(7), ..options() };
    let mut measured = Vec::new();
    let mut watch = |event: Event| {
        if let Event::Evaluated { step, .. } = event {
            measured.push(step);
        }
    };
    run_watched(checkpoint(), None, &options, folder.path(), &mut watch).unwrap();
    assert_eq!(measured, [0, 7, 12]);
}

/// Makes regression data whose value depends on "warm", at any magnitude.
fn numbers(rows: usize, from: usize, size: f32) -> Dataset {
    let mut data = data(rows, from);
    (data.task, data.labels) = (Task::Regression, Labels::default());
    for example in &mut data.examples {
        let Target::Class(class) = example.target else { panic!("single label") };
        example.target = Target::number(size * (3.0 + class as f32));
    }
    data
}

#[test]
fn targets_of_any_magnitude_are_learned_alike() {
    let errors = [1e-4f32, 1.0, 1e5].map(|size| {
        let mut checkpoint = checkpoint();
        checkpoint.config.set_dropout(0.0);
        checkpoint.config.set_labels(&["score".into()], Task::Regression);
        let encode = |data| Encoded::new(data, &checkpoint.tokenizer, 16).unwrap();
        let (train_data, dev) = (encode(numbers(96, 0, size)), encode(numbers(40, 1000, size)));
        let options = TrainOptions { epochs: Some(30.0), save_every: 0.0, ..options() };
        let fit = |objective: &dyn Objective, folder: &Path| -> Result<Classifier, Error> {
            let mut model = Classifier::new(checkpoint.clone(), 1)?;
            assert!(set_head(&mut model, &train_data)?);
            let mut job = Job {
                model: &mut model,
                train: &train_data,
                dev: Some((&dev, Criterion { metric: Metric::Pearson, thresholds: false })),
                options: &options,
                objective,
                folder,
                fingerprint: "numbers",
            };
            let summary = train(&mut job, &mut |_| ())?;
            assert!(summary.best > 0.7, "{size}: {summary:?}");
            Ok(model)
        };
        let says = |model: &Classifier| predict(model, &dev, &mut |_| ()).unwrap();
        let apart =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| ((a - b) / size).abs()).sum::<f32>() / 40.0;

        let [whole, cut, taught] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let objective = Supervised::new(&train_data.data, &options).unwrap();
        let model = fit(&objective, whole.path()).unwrap();
        // the saved model outputs values in the original unit, and so does the one in memory
        let saved = Classifier::new(Checkpoint::load(whole.path()).unwrap(), 0).unwrap();
        assert_eq!(saved.weights(), model.weights());
        assert!(fit(&Interrupted(&objective, Cell::new(58)), cut.path()).is_err());
        fit(&objective, cut.path()).unwrap();
        assert_eq!(weights(whole.path()), weights(cut.path()));

        let answers = predict_with_vectors(&model, &train_data, &mut |_| ()).unwrap();
        let distill = Distill { alpha_hard: 0.1, ..Distill::default() };
        let (gold, options) = (train_data.tokens.len() / 2, &distill);
        let from_teacher = FromTeacher { answers: &answers, hard: objective, gold, options, teacher: None };
        let student = fit(&from_teacher, taught.path()).unwrap();
        let gold: Vec<f32> = dev.data.examples.iter().map(|e| e.target.numbers()[0]).collect();
        [apart(&says(&model), &gold), apart(&says(&student), &gold)]
    });
    assert!(errors.iter().flatten().all(|error| *error < 0.35), "{errors:?}");
    let alike = |error: &[f32; 2]| error.iter().zip(&errors[1]).all(|(a, b)| (a - b).abs() < 0.02);
    assert!(errors.iter().all(alike), "{errors:?}");
}

#[test]
fn several_numbers_of_unlike_magnitudes_are_learned_together() {
    let both = |rows, from| {
        let mut data = numbers(rows, from, 1.0);
        data.labels = Labels::ordered(vec!["small".into(), "large".into()]).unwrap();
        for example in &mut data.examples {
            let number = example.target.numbers()[0];
            // opposite, so that one cannot stand for the other
            example.target = Target::Numbers(vec![number * 1e-3, number * -1e4]);
        }
        data
    };
    let mut checkpoint = checkpoint();
    let (train_data, dev) = (both(96, 0), both(40, 1000));
    checkpoint.config.set_dropout(0.0);
    checkpoint.prepare_for(&train_data, InputFormat { max_tokens: 16, pairs: false, windows: None });
    assert_eq!(
        (checkpoint.config.task(), checkpoint.config.labels()),
        (Task::Regression, vec!["small".into(), "large".into()])
    );
    let encode = |data| Encoded::new(data, &checkpoint.tokenizer, 16).unwrap();
    let (train_data, dev) = (encode(train_data), encode(dev));
    let options = TrainOptions { epochs: Some(30.0), ..options() };
    let mut model = Classifier::new(checkpoint, 1).unwrap();
    assert!(set_head(&mut model, &train_data).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut job = Job {
        model: &mut model,
        train: &train_data,
        dev: Some((&dev, Criterion { metric: Metric::Pearson, thresholds: false })),
        options: &options,
        objective: &Supervised::new(&train_data.data, &options).unwrap(),
        folder: folder.path(),
        fingerprint: "two numbers",
    };
    let summary = train(&mut job, &mut |_| ()).unwrap();
    assert!(summary.best > 0.7, "{summary:?}");
    // in their own units
    let saved = Classifier::trained(Checkpoint::load(folder.path()).unwrap()).unwrap();
    let logits = predict(&saved, &dev, &mut |_| ()).unwrap();
    for (number, size) in [1e-3, -1e4].into_iter().enumerate() {
        let errors = logits.chunks_exact(2).zip(&dev.data.examples);
        let errors =
            errors.map(|(row, example)| ((row[number] - example.target.numbers()[number]) / size).abs());
        let error = errors.sum::<f32>() / 40.0;
        assert!(error < 0.35, "{number}: {error}");
    }
}

/// Records the losses.
struct Listened<'a>(&'a dyn Objective, RefCell<Vec<f64>>);

impl Objective for Listened<'_> {
    fn loss(&self, e: &Encoded, rows: &[u32], b: &Batch, o: &Output) -> Result<(f64, OutputGradient), Error> {
        let found = self.0.loss(e, rows, b, o)?;
        self.1.borrow_mut().push(found.0);
        Ok(found)
    }
}

#[test]
fn adversarial_perturbation_raises_the_loss_and_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let losses = |adversarial: f64, name: &str| {
        let options =
            TrainOptions { adversarial: Some(adversarial), epochs: Some(1.0), accumulate: 2, ..options() };
        let supervised = Supervised::new(&data(96, 0), &options).unwrap();
        let listened = Listened(&supervised, RefCell::default());
        let mut checkpoint = checkpoint();
        checkpoint.config.set_dropout(0.0);
        run_from(checkpoint, Some(&listened), &options, &folder.path().join(name)).unwrap();
        listened.1.take()
    };
    let (moved, plain) = (losses(0.05, "moved"), losses(0.0, "plain"));
    assert_eq!((moved.len(), plain.len()), (24, 12));
    // two batches per update, each passed twice
    for update in moved.chunks_exact(4) {
        assert!(update[2] + update[3] > update[0] + update[1], "{update:?}");
    }
    // the first updates start from the same weights
    assert_eq!(moved[..2], plain[..2]);
}

#[test]
fn accumulated_batches_are_one_update() {
    let folder = tempfile::tempdir().unwrap();
    let trained = |batch_size, accumulate| {
        let options =
            TrainOptions { epochs: Some(3.0), batch_size, accumulate, eval_every: None, ..options() };
        let mut checkpoint = checkpoint();
        checkpoint.config.set_dropout(0.0);
        let folder = folder.path().join(format!("{batch_size} {accumulate}"));
        let (summary, model) = run_from(checkpoint, None, &options, &folder).unwrap();
        assert_eq!(summary.steps, 3, "96 rows, all of them an update");
        model.weights()["classifier.weight"].data.clone()
    };
    // sums are taken in another order
    let (whole, parts) = (trained(96, 1), trained(24, 4));
    let apart = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(apart < 1e-4, "{apart}");
}

#[test]
fn patience_ends_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let hopeless = TrainOptions { learning_rate: Some(1e-12), patience: Some(2), ..options() };
    let (summary, _) = run(None, &hopeless, folder.path()).unwrap();
    assert_eq!((summary.best_step, summary.steps), (30, 30), "the last of equals");
}

#[test]
fn a_student_learns_from_its_teacher() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, teacher) = run(None, &options(), a.path()).unwrap();
    let mut student = Classifier::new(cut_layers(&teacher.checkpoint(), &[1]).unwrap(), 0).unwrap();
    let encode = |data| Encoded::new(data, teacher.tokenizer(), 16).unwrap();
    let (train_data, dev) = (encode(data(96, 0)), encode(data(40, 1000)));
    let distill: Distill = serde_json::from_value(serde_json::json!({
        "layers": [1], "epochs": 10, "learning_rate": 5e-3, "alpha_hard": 0.0, "hidden_weight": 1.0, "relation_weight": 1.0,
    }))
    .unwrap();
    let options = distill.training(&distill.stages()[0], true, 96, false, &options());
    let answers = predict_with_vectors(&teacher, &train_data, &mut |_| ()).unwrap();
    let objective = FromTeacher {
        answers: &answers,
        hard: Supervised::new(&train_data.data, &options).unwrap(),
        gold: train_data.tokens.len() / 2,
        options: &distill,
        teacher: Some(HiddenTeacher::new(&teacher, vec![1])),
    };
    let mut job = Job {
        model: &mut student,
        train: &train_data,
        dev: Some((&dev, Criterion { metric: Metric::Accuracy, thresholds: true })),
        options: &options,
        objective: &objective,
        folder: b.path(),
        fingerprint: "student",
    };
    let summary = train(&mut job, &mut |_| ()).unwrap();
    assert!(summary.best > 0.85, "{summary:?}");
}

#[test]
fn improbable_labels_are_measured_with_fitted_thresholds() {
    let mut start = checkpoint();
    start.config.set_labels(&["no".into(), "yes".into()], Task::MultiLabel);
    let mut model = Classifier::new(start, 1).unwrap();
    let bias = model.weights_mut().get_mut("classifier.bias").unwrap();
    bias.data.iter_mut().for_each(|x| *x = -9.0);
    let mut data = data(40, 0);
    data.task = Task::MultiLabel;
    for example in &mut data.examples {
        let Target::Class(class) = example.target else { panic!("single label") };
        example.target = Target::Classes(vec![class]);
    }
    let encoded = Encoded::new(data, model.tokenizer(), 16).unwrap();
    let options = TrainOptions { epochs: Some(0.0), ..options() };
    let objective = Supervised::new(&encoded.data, &options).unwrap();
    let mut best = |thresholds: bool| {
        let folder = tempfile::tempdir().unwrap();
        let mut job = Job {
            model: &mut model,
            train: &encoded,
            dev: Some((&encoded, Criterion { metric: Metric::MacroF1, thresholds })),
            options: &options,
            objective: &objective,
            folder: folder.path(),
            fingerprint: "shy",
        };
        train(&mut job, &mut |_| ()).unwrap().best
    };
    assert_eq!(best(false), 0.0);
    // giving every label to every text already scores that much
    assert!(best(true) > 0.3);
}
