//! The texts that students learn from, and who answers them.
use super::*;
use goldcrest::data::unlabelled;
use goldcrest::distill::{Augment, TransferSet};
use goldcrest::export;
use goldcrest::quantize::{Bits, quantize};
use goldcrest::recipe::{Recipe, Until, run};
use std::sync::Arc;

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

/// Makes a folder with a base and 40 labelled rows, `train.csv`.
fn base_and_rows() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut base = model();
    base.drop_head();
    base.save(&folder.path().join("base")).unwrap();
    let line = |i: usize| format!("{} {},{}\n", WORDS[i % 9], WORDS[i / 9], ["a", "b"][i % 2]);
    let rows = "text,label\n".to_string() + &(0..40).map(line).collect::<String>();
    std::fs::write(folder.path().join("train.csv"), rows).unwrap();
    folder
}

#[test]
fn windows_of_held_out_texts_are_left_out() {
    let folder = base_and_rows();
    let path = |name: &str| folder.path().join(name);
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

/// Texts without labels are read before training and again after it, which only a file allows.
#[test]
fn texts_without_labels_must_be_in_a_file() {
    let folder = base_and_rows();
    let path = |name: &str| folder.path().join(name);
    let text = "output = \"out\"\n[data]\ntrain = \"train.csv\"\n[base]\ncheckpoint = \"base\"\n[distill]\nlayers = 1\n\
                unlabelled = [\"/dev/null\"]\n[pack]\nname = \"x\"\n";
    let recipe = Recipe::parse(text, &path("recipe.toml")).unwrap();
    let error = run(&recipe, Until::Distill, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("/dev/null") && error.contains("must be in a file"), "{error}");
    assert!(!path("out/teacher").exists(), "told before training");
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
    assert!(!notes.contains("needs texts without labels"), "{notes}");
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
