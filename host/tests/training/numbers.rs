//! Regressions.
use super::*;
use goldcrest::bert::{InputFormat, TextWindows};
use goldcrest::train::{predict, set_head};

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
        assert!(fit(&Interrupted(&objective, AtomicUsize::new(58)), cut.path()).is_err());
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

#[test]
fn a_failed_run_leaves_a_model_of_the_original_unit() {
    let mut checkpoint = checkpoint();
    checkpoint.config.set_labels(&["score".into()], Task::Regression);
    let data = Encoded::new(numbers(96, 0, 100.0), &checkpoint.tokenizer, 16).unwrap();
    let mut model = Classifier::new(checkpoint, 1).unwrap();
    assert!(set_head(&mut model, &data).unwrap());
    let says = |model: &Classifier| predict(model, &data, &mut |_| ()).unwrap();
    let (before, options, folder) = (says(&model), options(), tempfile::tempdir().unwrap());
    let supervised = Supervised::new(&data.data, &options).unwrap();
    let failed = train(
        &mut Job {
            model: &mut model,
            train: &data,
            dev: None,
            options: &options,
            objective: &Interrupted(&supervised, AtomicUsize::new(1)),
            folder: folder.path(),
            fingerprint: "test",
        },
        &mut |_| (),
    );
    assert!(failed.is_err());
    for (before, after) in before.iter().zip(says(&model)) {
        assert!((before - after).abs() < 1e-2, "{before} {after}");
    }
}

#[test]
fn texts_in_windows_are_not_trained_on() {
    let windows = Some(TextWindows { overlap: 0, most: 4 });
    let format = InputFormat { max_tokens: 4, pairs: false, windows };
    let data = Encoded::with_format(data(96, 0), &checkpoint().tokenizer, format).unwrap();
    let (mut model, options) = (Classifier::new(checkpoint(), 1).unwrap(), options());
    let folder = tempfile::tempdir().unwrap();
    let mut job = Job {
        model: &mut model,
        train: &data,
        dev: None,
        options: &options,
        objective: &Supervised::new(&data.data, &options).unwrap(),
        folder: folder.path(),
        fingerprint: "test",
    };
    assert!(matches!(train(&mut job, &mut |_| ()), Err(Error::Windows)));
}
