//! Tests of students: cutting, factorising, transfer sets and smaller bases.

mod support;

use goldcrest::bert::{Batch, Checkpoint, Classifier, Config, Mode, Pooling, Tape, TokenizerFiles, Tokens};
use goldcrest::data::{Dataset, Example, Labels, Source, Target, Task, unlabelled};
use goldcrest::distill::{
    Augment, Layers, TransferSet, cut_layers, cut_widths, factorise_embeddings, importance,
};
use goldcrest::export;
use goldcrest::quantize::{Bits, quantize};
use goldcrest::recipe::{Progress, Recipe, Shrink, Until, run, shrink};
use goldcrest::train::{Encoded, TrainOptions, predict_with_vectors};
use std::sync::Arc;
use support::{SHAPES, checkpoint};

const WORDS: [&str; 10] = ["red", "green", "blue", "fast", "slow", "high", "low", "warm", "cold", "##er"];

fn model() -> Checkpoint {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    let vocab: String = special.iter().chain(&WORDS).map(|w| format!("{w}\n")).collect();
    let mut config: Config = serde_json::from_value(serde_json::json!({
        "vocab_size": 14, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24,
    }))
    .unwrap();
    config.set_labels(&["no".into(), "yes".into()], Task::SingleLabel);
    let tokenizer =
        TokenizerFiles { vocab, lowercase: true, strip_accents: None, chinese_chars: true, max_length: 16 };
    Classifier::new(Checkpoint { config, tensors: Default::default(), tokenizer }, 5).unwrap().checkpoint()
}

fn data(texts: &[&str]) -> Dataset {
    let example = |text: &&str| Example::new(*text, Target::Class(0));
    Dataset {
        task: Task::SingleLabel,
        labels: Labels::ordered(vec!["no".into(), "yes".into()]).unwrap(),
        examples: texts.iter().map(example).collect(),
        files: vec![],
    }
}

fn logits(model: &Checkpoint) -> Vec<f32> {
    let model = Classifier::new(model.clone(), 0).unwrap();
    let tokens = Tokens { ids: vec![2, 5, 9, 13, 7, 3], type_ids: vec![0; 6] };
    let batch = Batch::new([&tokens].into_iter(), 0);
    model.forward(&batch, Mode::Evaluate, &mut Tape::default()).unwrap().logits.clone()
}

fn close(a: &[f32], b: &[f32], tolerance: f32) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() < tolerance)
}

#[test]
fn dead_parts_are_cut_first_and_change_nothing() {
    let mut whole = model();
    for (layer, head, column) in [(0, 2, 3), (1, 0, 11)] {
        // one head and seven columns whose outputs are ignored
        let mut clear = |part: &str, width: usize, dead: std::ops::Range<usize>| {
            let name = format!("bert.encoder.layer.{layer}.{part}.weight");
            let weight = whole.tensors.get_mut(&name).unwrap();
            weight.data.chunks_exact_mut(width).for_each(|row| row[dead.clone()].fill(0.0));
        };
        clear("attention.output.dense", 16, head * 4..head * 4 + 4);
        clear("output.dense", 24, column..column + 7);
    }
    // and three such columns of the pooler
    let classifier = whole.tensors.get_mut("classifier.weight").unwrap();
    classifier.data.chunks_exact_mut(16).for_each(|row| row[5..8].fill(0.0));
    let texts = data(&["red fast warm", "slower blue", "cold high low green"]);
    let texts = Encoded::new(texts, &whole.tokenizer, 16).unwrap();
    let found = importance(&Classifier::new(whole.clone(), 0).unwrap(), &texts, 3, 0).unwrap();
    for (layer, head) in [(0, 2), (1, 0)] {
        let dead: Vec<usize> = (0..4).filter(|h| found.layers[layer].heads[*h] == 0.0).collect();
        assert_eq!(dead, [head], "layer {layer}: {:?}", found.layers[layer].heads);
    }
    let cut = cut_widths(&whole, &found, Some(3), Some(17), Some(13));
    let shape = cut.config.goldcrest.clone().unwrap();
    assert_eq!((shape.heads, shape.intermediate, shape.pooler), (vec![3, 3], vec![17, 17], Some(13)));
    assert!(close(&logits(&whole), &logits(&cut), 1e-6));
    let more = cut_widths(&whole, &found, Some(2), None, None);
    assert!(!close(&logits(&whole), &logits(&more), 1e-9));
}

#[test]
fn importance_is_the_sum_over_small_batches() {
    let whole = model();
    let measured = |texts: usize| {
        let texts = Encoded::new(data(&vec!["red fast warm"; texts]), &whole.tokenizer, 16).unwrap();
        importance(&Classifier::new(whole.clone(), 0).unwrap(), &texts, 8, 0).unwrap()
    };
    // one batch and two
    let (one, two) = (measured(4), measured(8));
    let twice = |one: &[f64], two: &[f64]| {
        one.iter().zip(two).all(|(one, two)| *one > 0.0 && (two / one - 2.0).abs() < 1e-3)
    };
    assert!(twice(&one.pooler, &two.pooler));
    for (one, two) in one.layers.iter().zip(&two.layers) {
        assert!(
            twice(&one.heads, &two.heads) && twice(&one.intermediate, &two.intermediate),
            "{one:?} {two:?}"
        );
    }
}

#[test]
fn importance_of_a_head_is_the_slope_of_the_margin() {
    let whole = model();
    let text = Encoded::new(data(&["red fast warm"]), &whole.tokenizer, 16).unwrap();
    let found = importance(&Classifier::new(whole.clone(), 0).unwrap(), &text, 1, 0).unwrap();
    let largest = found.layers.iter().flat_map(|layer| &layer.heads).copied().fold(0.0, f64::max);
    let margin = |layer: usize, head: usize, scale: f32| {
        let mut scaled = whole.clone();
        let name = format!("bert.encoder.layer.{layer}.attention.output.dense.weight");
        let rows = scaled.tensors.get_mut(&name).unwrap().data.chunks_exact_mut(16);
        rows.for_each(|row| row[head * 4..head * 4 + 4].iter_mut().for_each(|x| *x *= scale));
        let answers = predict_with_vectors(&Classifier::new(scaled, 0).unwrap(), &text, &mut |_| ()).unwrap();
        f64::from(answers.logits[0] - answers.logits[1]).abs()
    };
    for (layer, head) in (0..8).map(|i| (i / 4, i % 4)) {
        let wanted = ((margin(layer, head, 1.1) - margin(layer, head, 0.9)) / 0.2).abs();
        let here = found.layers[layer].heads[head];
        assert!((here - wanted).abs() < 0.05 * largest, "{layer} {head}: {here} {wanted}");
    }
}

#[test]
fn layers_of_a_student_keep_their_own_widths() {
    let uneven = checkpoint(SHAPES.last().unwrap(), 7);
    let cut = cut_layers(&uneven, &[1, 3]).unwrap();
    let shape = cut.config.goldcrest.clone().unwrap();
    assert_eq!((shape.heads, shape.intermediate), (vec![2, 1], vec![33, 17]));
    for (name, shape) in Checkpoint::shapes(&cut.config) {
        assert_eq!(cut.tensors[&name].shape, shape, "{name}");
    }
}

#[test]
fn factorising_to_full_rank_is_exact() {
    let whole = model();
    let counts = vec![1.0; 14];
    // 14 pieces span at most 14 of the 16 dimensions
    let narrow = factorise_embeddings(&whole, 14, &counts);
    assert_eq!(narrow.config.embedding_rank(), Some(14));
    assert!(close(&logits(&whole), &logits(&narrow), 1e-5));
    let again = factorise_embeddings(&narrow, 13, &counts);
    assert_eq!(again.tensors["bert.embeddings.word_embeddings.weight"].shape, [14, 13]);
    assert!(!close(&logits(&whole), &logits(&again), 1e-9));
    assert_eq!(factorise_embeddings(&whole, 16, &counts), whole);
}

#[test]
fn factorised_embeddings_are_multiplied_out_first() {
    // a projection that does not preserve lengths, as after training
    let mut stretched = factorise_embeddings(&model(), 14, &[1.0; 14]);
    let projection = stretched.tensors.get_mut("bert.embeddings.word_embeddings_projection.weight").unwrap();
    projection.data.iter_mut().enumerate().for_each(|(i, x)| *x *= if i % 14 < 7 { 5.0 } else { 0.2 });
    let table = stretched.word_embeddings();
    let again = factorise_embeddings(&stretched, 7, &[1.0; 14]).word_embeddings();
    let squares = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let lost = squares(&mut table.data.iter().zip(&again.data).map(|(a, b)| a - b));
    // the table's singular values give the smallest possible loss
    let matrix = nalgebra::DMatrix::from_row_slice(14, 16, &table.data).map(f64::from);
    let least: f64 = matrix.singular_values().iter().skip(7).map(|s| s * s).sum();
    assert!(lost < least * 1.001 + 1e-9, "{lost} {least}");
}

#[test]
fn changed_table_overrides_its_factors() {
    let folder = tempfile::tempdir().unwrap();
    let mut narrow = factorise_embeddings(&model(), 10, &[1.0; 14]);
    // numbers that are subnormal in half precision
    let table = narrow.tensors.get_mut("bert.embeddings.word_embeddings.weight").unwrap();
    table.data[..40].iter_mut().for_each(|x| *x *= 1e-5);
    let path = |name: &str| folder.path().join(name);
    narrow.save(folder.path()).unwrap();
    assert_eq!(Checkpoint::load(folder.path()).unwrap(), narrow);
    narrow.save_f16(folder.path()).unwrap();
    assert_eq!(Checkpoint::load(folder.path()).unwrap().config.embedding_rank(), Some(10));
    narrow.save(folder.path()).unwrap();
    // trained further by another program, which knows only the table
    let mut changed = narrow.clone();
    let table = changed.tensors.get_mut("bert.embeddings.word_embeddings.weight").unwrap();
    table.data[3] += 0.5;
    let elsewhere = tempfile::tempdir().unwrap();
    changed.save(elsewhere.path()).unwrap();
    let whole = |loaded: Checkpoint| {
        assert_eq!(loaded.config.embedding_rank(), None);
        assert!(close(&logits(&changed), &logits(&loaded), 1e-6));
    };
    std::fs::copy(elsewhere.path().join("model.safetensors"), path("model.safetensors")).unwrap();
    whole(Checkpoint::load(folder.path()).unwrap());
    std::fs::remove_file(path("embedding_factors.safetensors")).unwrap();
    whole(Checkpoint::load(folder.path()).unwrap());
}

#[test]
fn transfer_set_has_gold_first_and_no_evaluation_texts() {
    let train = Arc::new(data(&["red fast warm", "slower blue", "red fast warm"]));
    let dev = data(&["Cold high"]);
    let given = ["cold  HIGH", "low low", "red fast warm"].map(|text| (text.to_string(), None)).to_vec();
    let augment = Augment { replaced: 4.0, spliced: 2.0, mixed: 0.0, seed: 1 };
    let apart = dev.examples.iter().map(Example::texts).collect();
    let set = TransferSet::new(&train, given.clone(), &apart, &model(), augment).unwrap();
    assert_eq!((set.gold, set.given), (3, 4));
    let texts: Vec<&str> = set.data.examples.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(texts[..4], ["red fast warm", "slower blue", "red fast warm", "low low"]);
    assert!(!texts.iter().any(|text| text.eq_ignore_ascii_case("cold high")), "{texts:?}");
    assert!(
        texts[4..].iter().any(|text| text.contains("slower blue")),
        "continuations are joined: {texts:?}"
    );
    let again = TransferSet::new(&train, given, &apart, &model(), augment).unwrap();
    assert_eq!(set.data, again.data);
}

#[test]
fn windows_of_held_out_texts_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut base = model();
    base.drop_head();
    base.save(&path("base")).unwrap();
    let line = |i: usize| format!("{} {},{}\n", WORDS[i % 9], WORDS[i / 9], ["a", "b"][i % 2]);
    std::fs::write(path("train.csv"), "text,label\n".to_string() + &(0..40).map(line).collect::<String>())
        .unwrap();
    let [held_out, other] = ["high low warm cold red green blue", "cold warm low high blue green red"];
    std::fs::write(path("dev.csv"), format!("text,label\n{held_out},a\nwarm cold,b\n")).unwrap();
    let texts = |more: &str| {
        std::fs::write(path("more.txt"), more).unwrap();
        let text = "output = \"out\"\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\n[base]\ncheckpoint = \"base\"\n\
                    [task]\nmax_tokens = 6\nwindows = { overlap = 1, most = 4 }\n[train]\nepochs = 0.1\n[distill]\nlayers = 1\n\
                    epochs = 0.1\nreplaced = 0\nngrams = false\nunlabelled = [\"more.txt\"]\n[pack]\nname = \"x\"\n";
        let recipe = Recipe::parse(text, &path("recipe.toml")).unwrap();
        let mut found = None;
        let mut watch = |progress: Progress| {
            if let Progress::Note(note) = progress
                && note.contains("texts to learn from")
            {
                found = Some(note.to_string());
            }
        };
        run(&recipe, Until::Distill, &mut watch).unwrap();
        found
    };
    // seven words, four in each window and one shared
    assert_eq!(texts(other).unwrap(), "42 texts to learn from: 40 with labels, 2 without");
    assert_eq!(texts(&format!("{other}\n{}\n", held_out.to_uppercase())), None, "the student is reused");
}

#[test]
fn mixed_texts_are_whole_words_of_texts() {
    let train = Arc::new(data(&["red fast warmer", "slower", "cold high lower green blue red red red"]));
    let augment = Augment { replaced: 0.0, spliced: 0.0, mixed: 20.0, seed: 1 };
    let set = TransferSet::new(&train, Vec::new(), &Default::default(), &model(), augment).unwrap();
    let texts: Vec<&str> = set.data.examples[3..].iter().map(|e| e.text.as_str()).collect();
    assert!(texts.len() > 5, "{texts:?}");
    let known = ["red", "fast", "warmer", "slower", "cold", "high", "lower", "green", "blue"];
    assert!(texts.iter().all(|text| text.split(' ').all(|word| known.contains(&word))), "{texts:?}");
    let of_two = |text: &&&str| text.contains("warmer") && text.contains("green");
    assert!(texts.iter().any(|text| of_two(&text)), "{texts:?}");
}

/// Words of many pieces: the base does not know the language, and n-grams teach it.
#[test]
fn ngrams_teach_a_base_that_does_not_know_the_language() {
    let folder = tempfile::tempdir().unwrap();
    let mut base = model();
    base.drop_head();
    base.save(&folder.path().join("base")).unwrap();
    let words = ["slowerer", "warmerer", "lowerer", "coldererer", "fasterer", "higherer"];
    let text = |i: usize| format!("{} {} {}", words[i % 6], words[i / 6 % 6], words[(i + i / 36) % 6]);
    let line = |i: usize| format!("{},{}\n", text(i), if i % 6 < 3 { "slow" } else { "fast" });
    let lines: String = (0..72).map(line).collect();
    std::fs::write(folder.path().join("data.csv"), format!("text,label\n{lines}")).unwrap();
    let students = |epochs: f64, more: &str| {
        let text = format!(
            "output = \"run\"\n[data]\ntrain = \"data.csv\"\nremove_overlap = false\n[base]\ncheckpoint = \"base\"\n\
             [train]\nepochs = {epochs}\nlearning_rate = 3e-3\n{more}\n[quantize]\nmax_drop = 100\naware = \"never\"\n[pack]\nname = \"x\"\n"
        );
        let recipe = Recipe::parse(&text, &folder.path().join("recipe.toml")).unwrap();
        let mut notes = String::new();
        let mut watch = |progress: Progress| {
            if let Progress::Note(note) = progress {
                notes = format!("{notes}{note}\n");
            }
        };
        (run(&recipe, Until::Pack, &mut watch).unwrap().students.len(), notes)
    };
    let (count, notes) = students(0.1, "[distill]\nngrams = false");
    assert!(count == 0 && notes.contains("does the base know the language?"), "{notes}");
    let (count, notes) = students(0.1, "[distill]\nepochs = 0.1\nngrams = true\nmixed = 3");
    assert!(count == 1 && notes.contains("n-grams of the training texts teach too"), "{notes}");
    let (count, notes) = students(0.1, "");
    assert!(count == 1 && notes.contains("n-grams of the training texts teach too"), "{notes}");
    // a student that learns nothing is not packed
    let better = "the model that learned without n-grams is better, and is packed";
    let (count, notes) = students(30.0, "[distill]\nepochs = 0.1\nlearning_rate = 1e-9\nngrams = true");
    assert!(count == 1 && notes.contains(better), "{notes}");
    let own = "[distill]\nstart = \"base\"\nepochs = 0.1\nlearning_rate = 1e-9\nngrams = true";
    let (count, notes) = students(30.0, own);
    assert!(count == 1 && !notes.contains(better), "a student of the recipe's own is packed: {notes}");
}

#[test]
fn texts_without_labels_are_read_from_tables_and_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let texts = |path: &std::path::Path, paired| unlabelled(path, paired, &Source::default()).unwrap();
    let one = |text: &str| (text.to_string(), None);
    assert_eq!(
        texts(&file("a.csv", "id,text\n1,\"hello, you\"\n2,bye\n"), false),
        [one("hello, you"), one("bye")]
    );
    assert_eq!(texts(&file("b.jsonl", "{\"text\": \"hi\", \"label\": 3}\n"), false), [one("hi")]);
    assert_eq!(texts(&file("c.txt", "first\n\nsecond\tline\n"), false), [one("first"), one("second\tline")]);
    let pairs = file("d.tsv", "text_a\ttext_b\nx\ty\n");
    assert_eq!(texts(&pairs, false), [one("x"), one("y")]);
    assert_eq!(texts(&pairs, true), [("x".to_string(), Some("y".to_string()))]);
    let error = unlabelled(&file("e.txt", "alone\n"), true, &Source::default()).unwrap_err().to_string();
    assert!(error.contains("e.txt") && error.contains('1'), "{error}");
}

/// Teachers run on the device's code: its [CLS] vectors must equal those of the f32 model, up to rounding to
/// int8.
#[test]
fn the_device_gives_the_cls_vector_of_the_model() {
    let whole = model();
    let texts = data(&["red fast warm", "slower blue", "cold high low green"]);
    let texts = Encoded::new(texts, &whole.tokenizer, 16).unwrap();
    let expected =
        predict_with_vectors(&Classifier::new(whole.clone(), 0).unwrap(), &texts, &mut |_| ()).unwrap();
    let onnx = export::int8(&quantize(&whole, Bits::Eight).unwrap()).to_bytes();
    let options = goldcrest_edge::model::Options::default();
    let mut device = goldcrest_edge::model::Model::load(&onnx, Default::default(), &options).unwrap();
    for (text, expected) in texts.tokens.iter().zip(expected.cls.chunks_exact(16)) {
        device.run(&text.ids, &text.type_ids, &mut [0.0; 2]).unwrap();
        let found = device.cls().expect("the model is fused");
        assert!(close(found, expected, 5e-2) && found.len() == 16, "{found:?} {expected:?}");
    }
}

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
