//! The initialisation of pooler and head.

mod support;

use goldcrest::bert::{Batch, Checkpoint, Classifier, Mode, Tape, Tokens};
use goldcrest::data::{Dataset, Example, Labels, Target, Task};
use goldcrest::recipe::{Progress, Recipe, RunError, Until, run};
use goldcrest::train::{Encoded, predict, predict_with_vectors, set_head};
use support::{SHAPES, checkpoint_with_pieces};

/// Makes an encoder without a head and with its pooler scaled.
fn base(pooler: f32) -> Checkpoint {
    let shape = &SHAPES[2];
    let mut model = checkpoint_with_pieces(shape, 7);
    model.tensors.retain(|name, _| !name.starts_with("classifier."));
    let weight = &mut model.tensors.get_mut("bert.pooler.dense.weight").unwrap().data;
    let deviation = (weight.iter().map(|x| x * x).sum::<f32>() / weight.len() as f32).sqrt();
    weight.iter_mut().for_each(|x| *x *= pooler / deviation);
    model
}

#[test]
fn a_pooler_that_passes_through_leaves_cls_to_the_head() {
    let mut model = base(0.02);
    model.pass_through_pooler();
    let model = Classifier::new(model, 3).unwrap();
    let tokens = Tokens { ids: vec![2, 50, 60, 70, 3], type_ids: vec![0; 5] };
    let mut tape = Tape::default();
    let output =
        model.forward(&Batch::new([&tokens].into_iter(), 0), Mode::Evaluate, &mut tape).unwrap().clone();
    let [weight, bias] = ["classifier.weight", "classifier.bias"].map(|name| &model.weights()[name].data);
    for (logit, (row, bias)) in output.logits.iter().zip(weight.chunks_exact(output.cls.len()).zip(bias)) {
        let wanted = row.iter().zip(&output.cls).map(|(w, x)| w * x.tanh()).sum::<f32>() + bias;
        assert!((logit - wanted).abs() < 1e-5, "{logit} {wanted}");
    }
}

#[test]
fn a_worn_pooler_is_replaced_before_a_head_is_trained_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    base(0.02).save(&path("fresh")).unwrap();
    base(0.009).save(&path("worn")).unwrap();
    let lines = (5..45).map(|i| format!("piece{i} piece{},{}\n", i + 1, if i % 2 == 0 { "a" } else { "b" }));
    std::fs::write(path("data.csv"), "text,label\n".to_string() + &lines.collect::<String>()).unwrap();
    let trained = |checkpoint: &str, pooler: &str, output: &str| {
        let text = format!(
            "output = \"{output}\"\n[data]\ntrain = \"data.csv\"\n[base]\ncheckpoint = \"{checkpoint}\"\n{pooler}\n[task]\n\
             max_tokens = 16\n[train]\nepochs = 1\nlearning_rate = 1e-9\n[pack]\nname = \"x\"\n"
        );
        let recipe = Recipe::parse(&text, &path("recipe.toml")).unwrap();
        let mut noted = false;
        let mut watch = |progress: Progress| {
            noted |= matches!(progress, Progress::Note(note) if note.contains("base.pooler"));
        };
        run(&recipe, Until::Train, &mut watch).unwrap();
        let teacher = Checkpoint::load(&path(output).join("teacher")).unwrap();
        let corner = teacher.tensors["bert.pooler.dense.weight"].data[0];
        assert_eq!(noted, (corner - 1.0).abs() < 1e-3, "{checkpoint} {pooler}: {corner}");
        noted
    };
    assert!(!trained("fresh", "", "1"));
    assert!(trained("worn", "", "2"));
    assert!(!trained("worn", "pooler = \"keep\"", "3"));
    assert!(trained("fresh", "pooler = \"pass\"", "4"));
    // a head trained on another pooler is dropped
    assert!(trained("3/teacher", "pooler = \"pass\"", "6"));
    let text = "output = \"7\"\n[data]\ntrain = \"data.csv\"\n[base]\ncheckpoint = \"3/teacher\"\npooler = \"pass\"\n[train]\nepochs = 0\n\
                [pack]\nname = \"x\"\n";
    let error =
        run(&Recipe::parse(text, &path("recipe.toml")).unwrap(), Until::Train, &mut |_| ()).unwrap_err();
    assert!(matches!(error, RunError::NoHead { .. }), "{error}");
    // the pooler of a classifier belongs to its head
    assert!(!trained("3/teacher", "", "5"));
}

#[test]
fn a_head_of_prototypes_finds_the_nearest_mean() {
    let mut base = base(0.02);
    base.pass_through_pooler();
    // the last label has no text
    let labels = ["a", "b", "c", "d"].map(String::from);
    base.config.set_labels(&labels, Task::SingleLabel);
    // the third has a single text, which cannot be left out of its own mean
    let classes = [0, 1, 0, 1, 0, 1, 2, 0, 1, 1];
    let example = |(i, class): (usize, &u32)| {
        Example::new(format!("piece{} piece{}", 5 + 7 * i, 100 + 50 * class), Target::Class(*class))
    };
    let examples = classes.iter().enumerate().map(example).collect();
    let labels = Labels::ordered(labels.to_vec()).unwrap();
    let data = Dataset { task: Task::SingleLabel, labels, examples, files: vec![] };
    let encoded = Encoded::new(data.clone(), &base.tokenizer, 16).unwrap();
    let mut model = Classifier::new(base.clone(), 1).unwrap();

    let vectors = predict_with_vectors(&model, &encoded, &mut |_| ()).unwrap().cls;
    let vectors: Vec<Vec<f64>> = vectors
        .chunks_exact(vectors.len() / 10)
        .map(|row| row.iter().map(|x| f64::from(*x).tanh()).collect())
        .collect();
    let distance = |vector: &[f64], class: u32| {
        let own: Vec<&Vec<f64>> =
            vectors.iter().zip(classes).filter(|(_, c)| *c == class).map(|(v, _)| v).collect();
        let mean = |i: usize| own.iter().map(|v| v[i]).sum::<f64>() / own.len() as f64;
        vector.iter().enumerate().map(|(i, x)| (x - mean(i)).powi(2)).sum::<f64>()
    };
    assert!(set_head(&mut model, &encoded).unwrap());
    let logits = predict(&model, &encoded, &mut |_| ()).unwrap();
    let mut ratios = Vec::new();
    for (vector, logits) in vectors.iter().zip(logits.chunks_exact(4)) {
        assert!(logits[..3].iter().all(|logit| *logit > logits[3]), "{logits:?}");
        for class in 1..3 {
            // differences of logits are proportional to differences of squared distances
            let apart = 0.5 * (distance(vector, 0) - distance(vector, class));
            ratios.push(f64::from(logits[class as usize] - logits[0]) / apart);
        }
    }
    let (least, most) = ratios.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
    assert!(least > 0.0 && most / least < 1.02, "{ratios:?}");

    // no class has two texts, so the head is unchanged
    let few = Encoded::new(data.subset([0, 1, 6]), &base.tokenizer, 16).unwrap();
    assert!(!set_head(&mut model, &few).unwrap());
    assert_eq!(predict(&model, &encoded, &mut |_| ()).unwrap(), logits);
}

#[test]
fn multi_label_head_fits_left_out_texts() {
    let mut base = base(0.02);
    base.pass_through_pooler();
    let names = ["a", "b", "none has it", "all but one have it"].map(String::from);
    base.config.set_labels(&names, Task::MultiLabel);
    let labels = Labels::ordered(names.to_vec()).unwrap();
    let sets: Vec<Vec<u32>> = (0..24)
        .map(|i| {
            let chosen = [(0, i % 3 == 0), (1, i % 5 < 2), (3, i < 23)];
            chosen.into_iter().filter(|(_, has)| *has).map(|(label, _)| label).collect()
        })
        .collect();
    // The last text has no label. Each label has a word, missing in one text of six; each text also has a
    // unique word.
    let text = |(i, set): (usize, &Vec<u32>)| {
        let word = |label: u32| if set.contains(&label) == (i % 6 < 5) { 40 + label } else { 50 + label };
        format!("piece{} piece{} piece{}", word(0), word(1), 100 + 3 * i)
    };
    let example = |(i, set)| Example {
        text: text((i, set)),
        pair: None,
        target: Target::Classes(set.clone()),
        file: 0,
        line: 1,
    };
    let examples = sets.iter().enumerate().map(example).collect();
    let data = Dataset { task: Task::MultiLabel, labels, examples, files: vec![] };
    let encoded = Encoded::new(data, &base.tokenizer, 16).unwrap();
    let mut model = Classifier::new(base, 1).unwrap();
    let vectors = predict_with_vectors(&model, &encoded, &mut |_| ()).unwrap().cls;
    let vectors: Vec<Vec<f64>> = vectors
        .chunks_exact(vectors.len() / 24)
        .map(|row| row.iter().map(|x| f64::from(*x).tanh()).collect())
        .collect();
    assert!(set_head(&mut model, &encoded).unwrap());
    let logits = predict(&model, &encoded, &mut |_| ()).unwrap();

    // half the difference of a text's squared distances to the two means, leaving out text `left_out`
    let difference = |i: usize, label: u32, left_out: Option<usize>| {
        let distance = |with: bool| {
            let own: Vec<&Vec<f64>> = (0..24)
                .filter(|j| sets[*j].contains(&label) == with && Some(*j) != left_out)
                .map(|j| &vectors[j])
                .collect();
            let mean = |d: usize| own.iter().map(|v| v[d]).sum::<f64>() / own.len() as f64;
            vectors[i].iter().enumerate().map(|(d, x)| (x - mean(d)).powi(2)).sum::<f64>()
        };
        0.5 * (distance(false) - distance(true))
    };
    let odds = |count: f64| (count / (25.0 - count)).ln();
    let mut slopes = Vec::new();
    for (i, row) in logits.chunks_exact(4).enumerate() {
        for (label, count) in [(0, 8.5), (1, 10.5)] {
            slopes.push((f64::from(row[label as usize]) - odds(count)) / difference(i, label, None));
        }
        assert!((f64::from(row[2]) - odds(0.5)).abs() < 1e-4);
    }
    slopes.sort_by(f64::total_cmp);
    let slope = slopes[slopes.len() / 2];
    assert!(slope > 0.0 && slopes.iter().all(|s| (s / slope - 1.0).abs() < 0.02), "{slopes:?}");
    // the slope that minimises binary cross entropy on left-out texts is five times this one
    let loss = |steep: f64| -> f64 {
        let of = |i: usize, label: u32, count: f64| {
            let logit = (count / (24.0 - count)).ln() + steep * difference(i, label, Some(i));
            let signed = if sets[i].contains(&label) { -logit } else { logit };
            // as if one text of 26 had been answered wrongly
            (25.0 * signed.exp().ln_1p() + (-signed).exp().ln_1p()) / 26.0
        };
        (0..24).map(|i| of(i, 0, 8.0) + of(i, 1, 10.0)).sum()
    };
    let best = loss(5.0 * slope);
    assert!([0.7, 0.9, 1.1, 1.4].iter().all(|factor| loss(5.0 * slope * factor) > best));
}

#[test]
fn regression_head_starts_with_the_mean_and_spread_of_the_targets() {
    let mut base = base(0.02);
    base.config.set_labels(&["score".to_string()], Task::Regression);
    let numbers = [1.0, 2.5, 4.0];
    let example = |(i, value): (usize, &f32)| Example::new(format!("piece{}", 5 + i), Target::number(*value));
    let examples = numbers.iter().enumerate().map(example).collect();
    let data = Dataset { task: Task::Regression, labels: Labels::default(), examples, files: vec![] };
    let mut model = Classifier::new(base.clone(), 1).unwrap();
    let weight = model.weights()["classifier.weight"].data.clone();
    assert!(set_head(&mut model, &Encoded::new(data, &base.tokenizer, 16).unwrap()).unwrap());
    assert_eq!(model.weights()["classifier.bias"].data, [2.5]);
    let deviation = 1.5f32.sqrt();
    let found = &model.weights()["classifier.weight"].data;
    assert!(found.iter().zip(&weight).all(|(found, weight)| (found - weight * deviation).abs() < 1e-6));
}

#[test]
fn a_sentence_encoder_learns_to_compare_before_it_is_fine_tuned_on_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    base(0.009).save(&path("worn")).unwrap();
    base(0.02).save(&path("fresh")).unwrap();
    let piece = |i: usize| format!("piece{}", 5 + i % 40);
    let row = |i: usize| {
        format!(
            "{} {} {},{} {},{}\n",
            piece(i),
            piece(i * 7),
            piece(i / 3),
            piece(i + i / 5),
            piece(i * 3),
            i % 2
        )
    };
    let rows: String = (0..90).map(row).collect();
    std::fs::write(path("pairs.csv"), format!("text_a,text_b,label\n{rows}")).unwrap();
    let trained = |checkpoint: &str, option: &str, output: &str| {
        let text = format!(
            "output = \"{output}\"\n[data]\ntrain = \"pairs.csv\"\n[base]\ncheckpoint = \"{checkpoint}\"\n{option}\n[task]\n\
             max_tokens = 16\n[train]\nepochs = 1\nlearning_rate = 1e-9\n[pack]\nname = \"x\"\n"
        );
        let recipe = Recipe::parse(&text, &path("recipe.toml")).unwrap();
        let mut steps = Vec::new();
        let mut watch = |progress: Progress| {
            if let Progress::Step { name, reused } = progress {
                steps.push((name.to_owned(), reused));
            }
        };
        run(&recipe, Until::Train, &mut watch).unwrap();
        steps
    };
    let [make, compare, train] = ["make pairs", "learn to compare", "train"].map(str::to_owned);
    assert_eq!(
        trained("worn", "", "1"),
        [(make.clone(), false), (compare.clone(), false), (train.clone(), false)]
    );
    assert_eq!(trained("worn", "", "1"), [(make, true), (compare, true), (train.clone(), true)]);
    let again = |reused| assert_eq!(trained("worn", "compare = \"never\"", "2"), [(train.clone(), reused)]);
    again(false);
    again(true);
    // a damaged model is trained again
    let weights = path("2/teacher/model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, damaged).unwrap();
    again(false);
    assert!(std::fs::read(&weights).unwrap() == whole);
    assert_eq!(trained("fresh", "", "3"), [(train.clone(), false)]);
    let mut able = base(0.009);
    able.config.compares_pairs = true;
    able.save(&path("able")).unwrap();
    assert_eq!(trained("able", "", "4"), [(train, false)]);

    // fine-tuning started from what it learned, except for the head
    let [compares, teacher] = ["1/compares", "1/teacher"].map(|f| Checkpoint::load(&path(f)).unwrap());
    let name = "bert.encoder.layer.0.attention.self.query.weight";
    let far = |a: &Checkpoint, b: &Checkpoint| {
        let pairs = a.tensors[name].data.iter().zip(&b.tensors[name].data);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(far(&compares, &teacher) < 1e-6 && far(&compares, &base(0.009)) > 1e-4);
    assert_eq!((compares.config.num_labels(), teacher.config.num_labels()), (1, 2));
    assert!(compares.config.compares_pairs && teacher.config.compares_pairs);

    // students learn from those pairs too, even if the base itself does not need them
    for (checkpoint, output) in [("worn", 1), ("able", 4)] {
        let text = format!(
            "output = \"{output}\"\n[data]\ntrain = \"pairs.csv\"\n[base]\ncheckpoint = \"{checkpoint}\"\n[task]\nmax_tokens = 16\n\
             [train]\nepochs = 1\nlearning_rate = 1e-9\n[distill]\nlayers = 1\nepochs = 0.01\n[pack]\nname = \"x\"\n"
        );
        let mut notes = Vec::new();
        let mut watch = |progress: Progress| {
            if let Progress::Note(note) = progress {
                notes.push(note.to_owned());
            }
        };
        run(&Recipe::parse(&text, &path("recipe.toml")).unwrap(), Until::Distill, &mut watch).unwrap();
        let without = notes.iter().find_map(|note| {
            let (_, rest) = note.split_once("texts to learn from: ")?;
            rest.split_once("with labels, ")?.1.split(' ').next()?.parse::<usize>().ok()
        });
        assert!(without.is_some_and(|count| count > 4000), "{notes:?}");
    }
}
