//! Smaller bases, and the sentence vectors that they learn.
use super::*;
use goldcrest::bert::Pooling;
use goldcrest::distill::Layers;
use goldcrest::recipe::{Shrink, shrink};
use goldcrest::train::TrainOptions;

#[test]
fn a_smaller_base_is_half_as_wide_and_can_be_fine_tuned() {
    let folder = tempfile::tempdir().unwrap();
    let (base, output, texts) =
        (folder.path().join("base"), folder.path().join("small"), folder.path().join("texts.txt"));
    let mut compares = model();
    compares.config.compares_pairs = true;
    compares.save(&base).unwrap();
    std::fs::write(&texts, "red fast warm\nslower blue\ncold high low green\nred fast warm\n").unwrap();
    let order = Shrink {
        reading: Source::default(),
        base: base.clone(),
        output: output.clone(),
        layers: Some(Layers::Count(1)),
        pooling: Pooling::Cls,
        vocabulary: 10,
        texts: vec![texts],
        max_tokens: 16,
        training: TrainOptions { epochs: Some(20.0), learning_rate: Some(1e-3), ..TrainOptions::default() },
    };
    let mut notes = Vec::new();
    shrink(&order, &mut |progress| {
        if let Progress::Note(note) = progress {
            notes.push(note.to_string());
        }
    })
    .unwrap();
    assert!(notes[0].starts_with("3 texts"), "{notes:?}");
    let small = Checkpoint::load(&output).unwrap();
    assert_eq!(
        (small.config.num_hidden_layers, small.config.vocab_size),
        (1, 14),
        "every piece has letters that no other piece has"
    );
    assert_eq!(small.config.hidden_dropout_prob, model().config.hidden_dropout_prob);
    assert!(!small.config.compares_pairs, "it was not taught to");
    assert!(!small.tensors.contains_key("classifier.weight") && !output.join(".goldcrest-training").exists());
    let bytes = |folder: &std::path::Path| std::fs::metadata(folder.join("model.safetensors")).unwrap().len();
    assert!(bytes(&output) * 2 < bytes(&base), "{} {}", bytes(&output), bytes(&base));
    Classifier::new(small, 0).unwrap();
    // folders that are not empty are refused: this one, the base, any other
    let refused = |output: &std::path::Path| {
        let error = shrink(&Shrink { output: output.into(), ..order.clone() }, &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("holds something"), "{error}");
    };
    let theirs = folder.path().join("theirs/training");
    std::fs::create_dir_all(&theirs).unwrap();
    std::fs::write(theirs.join("notes.txt"), "precious").unwrap();
    for folder in [&*output, &*base, theirs.parent().unwrap()] {
        refused(folder);
    }
    assert_eq!(std::fs::read_to_string(theirs.join("notes.txt")).unwrap(), "precious");
    assert_eq!(Checkpoint::load(&base).unwrap().config, compares.config);
}

/// Makes two texts of different length, so that one is padded.
fn two_texts() -> Batch {
    let [long, short] = [vec![2, 5, 9, 13, 7, 3], vec![2, 8, 3]].map(|ids: Vec<u32>| {
        let type_ids = vec![0; ids.len()];
        Tokens { ids, type_ids }
    });
    Batch::new([&long, &short].into_iter(), 0)
}

#[test]
fn sentence_vector_is_the_mean_of_the_last_layers_tokens() {
    let (whole, batch) = (model(), two_texts());
    // with one more layer, the output of the previous last layer is among the hidden states
    let longer = cut_layers(&whole, &[0, 1, 1]).unwrap();
    let (mut tape, mut other) = (Tape::default(), Tape::default());
    let whole = Classifier::new(whole, 0).unwrap();
    let found = whole.sentence_vectors(&batch, Pooling::Mean, &mut tape).unwrap();
    let states =
        Classifier::new(longer, 0).unwrap().forward(&batch, Mode::Evaluate, &mut other).unwrap().hidden[2]
            .clone();
    let mean = |rows: std::ops::Range<usize>, column: usize| {
        rows.clone().map(|row| states[row * 16 + column]).sum::<f32>() / rows.len() as f32
    };
    for column in 0..16 {
        assert!((found[column] - mean(0..6, column)).abs() < 1e-5, "long text, {column}");
        assert!(
            (found[16 + column] - mean(6..9, column)).abs() < 1e-5,
            "short text, without padding, {column}"
        );
    }
    // the rest of the output is the same
    let plain = whole.forward(&batch, Mode::Evaluate, &mut other).unwrap();
    assert!(close(&plain.logits, &tape.output().logits, 1e-6) && close(&plain.cls, &tape.output().cls, 1e-6));
}

#[test]
fn smaller_base_can_learn_sentence_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let (base, texts) = (folder.path().join("base"), folder.path().join("texts.txt"));
    model().save(&base).unwrap();
    std::fs::write(&texts, "red fast warm\nslower blue\ncold high low green\n").unwrap();
    let distance = |pooling: Pooling| {
        let output = folder.path().join(format!("{pooling:?}"));
        let order = Shrink {
            reading: Source::default(),
            base: base.clone(),
            output: output.clone(),
            layers: None,
            pooling,
            vocabulary: 14,
            texts: vec![texts.clone()],
            max_tokens: 16,
            training: TrainOptions {
                epochs: Some(100.0),
                learning_rate: Some(1e-3),
                ..TrainOptions::default()
            },
        };
        shrink(&order, &mut |_| ()).unwrap();
        let of = |folder: &std::path::Path| Classifier::new(Checkpoint::load(folder).unwrap(), 0).unwrap();
        let (small, whole) = (of(&output), of(&base));
        let pooler = &small.weights()["bert.pooler.dense.weight"].data;
        let passes = pooler.iter().enumerate().all(|(i, x)| *x == f32::from(u8::from(i % 17 == 0)));
        assert_eq!(passes, pooling == Pooling::Mean);
        let (mut tape, batch) = (Tape::default(), two_texts());
        let wanted = whole.sentence_vectors(&batch, Pooling::Mean, &mut tape).unwrap();
        let found = small.forward(&batch, Mode::Evaluate, &mut tape).unwrap().cls.clone();
        found.iter().zip(wanted).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
    };
    let (own, mean) = (distance(Pooling::Cls), distance(Pooling::Mean));
    assert!(mean < 0.5 * own, "{mean} {own}");
}
