//! What a run learns, and how.
use super::*;
use goldcrest::distill::{HiddenTeacher, cut_layers};
use goldcrest::train::remove_state;
use std::sync::Mutex;

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

/// Records the losses.
struct Listened<'a>(&'a dyn Objective, Mutex<Vec<f64>>);

impl Objective for Listened<'_> {
    fn loss(&self, e: &Encoded, rows: &[u32], b: &Batch, o: &Output) -> Result<(f64, OutputGradient), Error> {
        let found = self.0.loss(e, rows, b, o)?;
        self.1.lock().unwrap().push(found.0);
        Ok(found)
    }
}

#[test]
fn adversarial_perturbation_raises_the_loss_and_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let losses_at = |rate: f64, adversarial: f64, name: &str| {
        let options = TrainOptions {
            adversarial: Some(adversarial),
            learning_rate: Some(rate),
            epochs: Some(1.0),
            accumulate: 2,
            ..options()
        };
        let supervised = Supervised::new(&data(96, 0), &options).unwrap();
        let listened = Listened(&supervised, Mutex::default());
        let mut checkpoint = checkpoint();
        checkpoint.config.set_dropout(0.0);
        run_from(checkpoint, Some(&listened), &options, &folder.path().join(name)).unwrap();
        listened.1.into_inner().unwrap()
    };
    let losses = |adversarial: f64, name: &str| losses_at(5e-3, adversarial, name);
    let (moved, plain) = (losses(0.05, "moved"), losses(0.0, "plain"));
    assert_eq!((moved.len(), plain.len()), (24, 12));
    // two batches per update, each passed twice
    for update in moved.chunks_exact(4) {
        assert!(update[2] + update[3] > update[0] + update[1], "{update:?}");
    }
    // the first updates start from the same weights
    assert_eq!(moved[..2], plain[..2]);
    // and without updates all of them do
    let (moved, plain) = (losses_at(1e-15, 0.5, "moved still"), losses_at(1e-15, 0.0, "still"));
    assert!(
        moved.chunks_exact(4).map(|update| &update[..2]).eq(plain.chunks_exact(2)),
        "{moved:?} {plain:?}"
    );
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
