//! What is refused before training.

mod overwriting;
mod splits;
#[path = "../support/mod.rs"]
mod support;

use goldcrest::bert::{Checkpoint, Classifier};
use goldcrest::data::{Dataset, Source, Task};
use goldcrest::evaluate::run_bundle;
use goldcrest::recipe::{Progress, Recipe, RunError, Until, run};
use goldcrest::train::Encoded;
use support::{SHAPES, checkpoint_with_pieces};

/// Makes an encoder without a head.
fn base() -> Checkpoint {
    let mut model = checkpoint_with_pieces(&SHAPES[2], 7);
    model.tensors.retain(|name, _| !name.starts_with("classifier."));
    model
}

#[test]
fn a_size_too_small_for_any_student_is_refused_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    base().save(&path("base")).unwrap();
    std::fs::write(path("data.csv"), "text,label\npiece1,a\npiece2,b\npiece3,a\npiece4,b\n").unwrap();
    let text = "output = \"out\"\n[data]\ntrain = \"data.csv\"\ndev_fraction = 0.5\n[base]\ncheckpoint = \"base\"\n\
                [distill]\nstudent = \"0.001 MB\"\n[pack]\nname = \"x\"\n";
    let recipe = Recipe::parse(text, &path("recipe.toml")).unwrap();
    let error = run(&recipe, Until::Pack, &mut |_| ()).unwrap_err();
    assert!(matches!(error, RunError::Size(_)), "{error}");
    assert!(!path("out/teacher").exists());
}

#[test]
fn invalid_bundles_are_refused_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    base().save(&path("base")).unwrap();
    let lines = (0..12).map(|i| format!("piece{i},piece{},{}\n", i + 1, ["a", "b"][i % 2]));
    std::fs::write(path("data.csv"), "text1,text2,label\n".to_owned() + &lines.collect::<String>()).unwrap();
    for (keys, said) in [
        ("[task]\nmax_tokens = 4\n", "max_tokens"),
        ("[task]\nwindows = { overlap = 2, most = 3 }\n", "windows"),
        ("[task]\nmetric = \"pearson\"\n", "pearson"),
        ("[pack]\nname = \"x\"\nbase_licence = \"a\\nb\"\n", "licence"),
        (&format!("[pack]\nname = \"{}\"\n", "x".repeat(140)), "name must have 1 to 128 bytes"),
    ] {
        let pack = if keys.starts_with("[pack]") { "" } else { "[pack]\nname = \"x\"\n" };
        let text = format!(
            "output = \"out\"\n[data]\ntrain = \"data.csv\"\n[base]\ncheckpoint = \"base\"\n{keys}{pack}"
        );
        let error =
            run(&Recipe::parse(&text, &path("recipe.toml")).unwrap(), Until::Pack, &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains(said), "{keys}: {error}");
        assert!(!path("out").exists());
    }
}

#[test]
fn symmetric_needs_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("data.csv"), "text,label\npiece5,a\npiece6,b\n").unwrap();
    let text = "output = \"out\"\n[data]\ntrain = \"data.csv\"\nsymmetric = true\n[base]\ncheckpoint = \"base\"\n[pack]\nname = \"x\"\n";
    let recipe = Recipe::parse(text, &path("recipe.toml")).unwrap();
    let error = run(&recipe, Until::Train, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("data.csv") && error.contains("`symmetric`"), "{error}");
}

#[test]
fn options_without_effect_are_refused_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    base().save(&path("base")).unwrap();
    let rows = |label: fn(usize) -> String| -> String {
        (0..20).map(|i| format!("piece{} piece{},{}\n", i + 5, i + 6, label(i))).collect()
    };
    std::fs::write(path("single.csv"), "text,label\n".to_owned() + &rows(|i| ["a", "b"][i % 2].into()))
        .unwrap();
    std::fs::write(path("number.csv"), "text,score\n".to_owned() + &rows(|i| format!("{i}.5"))).unwrap();
    std::fs::write(path("large.csv"), "text,score\n".to_owned() + &rows(|i| format!("{i}000000.5"))).unwrap();
    let several =
        |i: usize| format!("{{\"text\":\"piece{}\",\"labels\":[\"{}\"]}}\n", i + 5, ["a", "b"][i % 2]);
    std::fs::write(path("multi.jsonl"), (0..20).map(several).collect::<String>()).unwrap();
    let pair =
        |i: usize| format!("piece{i},piece{i} piece6,{}\n", if i.is_multiple_of(2) { "a" } else { "b" });
    let pairs: String = (5..25).map(pair).collect();
    std::fs::write(path("pairs.csv"), format!("text_a,text_b,label\n{pairs}")).unwrap();
    for (data, keys, said) in [
        ("pairs.csv", "[distill]\nngrams = true", "distill.ngrams are of one text"),
        ("number.csv", "[train]\nclass_weights = \"balanced\"", "train.class_weights"),
        ("number.csv", "[train]\nfocal = 2", "train.focal"),
        ("number.csv", "[train]\nlabel_smoothing = 0.1", "train.label_smoothing"),
        ("multi.jsonl", "[train]\nlabel_smoothing = 0.1", "train.label_smoothing"),
        ("multi.jsonl", "[decision]\nfalse_reject = 0.1", "decision.false_reject"),
        ("number.csv", "[decision]\nmax_error = 0.1", "decision.max_error"),
        ("single.csv", "[train]\nclass_weights = { c = 2.0 }", "class_weights"),
        ("single.csv", "[task]\nmax_tokens = 151", "has positions for 150 tokens"),
        // as many as there are
        ("single.csv", "[task]\nmax_tokens = 150\n[distill]\nlayers = 9", "layers 9 of a model"),
        ("single.csv", "[[distill.stages]]\nlayers = 1\n[[distill.stages]]\nlayers = 2", "layers"),
        ("single.csv", "[distill]\nlayers = 9223372036854775807", "layers 9223372036854775807 of a model"),
        ("single.csv", "[distill]\nintermediate = 5000", "intermediate is 5000"),
        ("single.csv", "[[distill.stages]]\nheads = 1\n[[distill.stages]]\nheads = 2", "heads is 2"),
        ("single.csv", "[distill]\nlayers = 1\nother_teachers = [\"base\"]", "base has no classifier"),
        ("large.csv", "", "divide all of them, by 1e1"),
    ] {
        let text = format!(
            "output = \"out\"\n[data]\ntrain = \"{data}\"\n[base]\ncheckpoint = \"base\"\n{keys}\n[pack]\nname = \"x\"\n"
        );
        let recipe = Recipe::parse(&text, &path("recipe.toml")).unwrap();
        let error = run(&recipe, Until::Pack, &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains(said), "{keys}: {error}");
        assert!(!path("out").exists(), "{keys}");
    }
}

#[test]
fn other_teachers_have_to_suit_the_task() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    base().save(&path("base")).unwrap();
    let teacher = |name: &str, shape, labels: &[&str], task| {
        let mut model = checkpoint_with_pieces(shape, 8);
        model.drop_head();
        let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
        model.config.set_labels(&labels, task);
        Classifier::new(model, 1).unwrap().checkpoint().save(&path(name)).unwrap();
    };
    teacher("same", &SHAPES[2], &["a", "b"], Task::SingleLabel);
    teacher("renamed", &SHAPES[2], &["a", "c"], Task::SingleLabel);
    teacher("several", &SHAPES[2], &["a", "b"], Task::MultiLabel);
    teacher("number", &SHAPES[2], &["value"], Task::Regression);
    teacher("short", &SHAPES[0], &["a", "b"], Task::SingleLabel);
    // five labels, and no word about the task
    checkpoint_with_pieces(&SHAPES[2], 8).save(&path("unnamed")).unwrap();
    let rows = |label: fn(usize) -> String| -> String {
        (0..20).map(|i| format!("piece{} piece{},{}\n", i + 5, i + 6, label(i))).collect()
    };
    std::fs::write(path("single.csv"), "text,label\n".to_owned() + &rows(|i| ["a", "b"][i % 2].into()))
        .unwrap();
    std::fs::write(path("number.csv"), "text,score\n".to_owned() + &rows(|i| format!("{i}.5"))).unwrap();
    let (labels, suits) = ("has to be trained for the same task", "layers 9 of a model");
    for (data, other, said) in [
        ("single.csv", "same", suits),
        ("number.csv", "number", suits),
        ("single.csv", "renamed", labels),
        ("single.csv", "several", labels),
        ("single.csv", "number", labels),
        ("number.csv", "same", labels),
        ("number.csv", "unnamed", labels),
        ("single.csv", "unnamed", labels),
        ("single.csv", "short", "has positions for 40 tokens"),
    ] {
        let text = format!(
            "output = \"out\"\n[data]\ntrain = \"{data}\"\n[base]\ncheckpoint = \"base\"\n[task]\nmax_tokens = 64\n\
             [distill]\nlayers = 9\nother_teachers = [\"{other}\"]\n[pack]\nname = \"x\"\n"
        );
        let recipe = Recipe::parse(&text, &path("recipe.toml")).unwrap();
        let error = run(&recipe, Until::Pack, &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains(said), "{data} {other}: {error}");
    }
}

#[test]
fn models_have_to_fit_what_is_asked_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let labels = ["a", "b"].map(String::from);
    let save = |name: &str, shape, types: usize| {
        let mut model = checkpoint_with_pieces(shape, 8);
        model.config.type_vocab_size = types;
        model.config.set_labels(&labels, Task::SingleLabel);
        model.tensors.clear();
        Classifier::new(model, 1).unwrap().checkpoint().save(&path(name)).unwrap();
    };
    save("base", &SHAPES[2], 2);
    save("short", &SHAPES[0], 2);
    save("single", &SHAPES[2], 1);
    let rows = |middle: &str| -> String {
        (5..25).map(|i| format!("piece{i}{middle}piece6,{}\n", ["a", "b"][i % 2])).collect()
    };
    std::fs::write(path("single.csv"), "text,label\n".to_owned() + &rows(" ")).unwrap();
    std::fs::write(path("pairs.csv"), "text_a,text_b,label\n".to_owned() + &rows(",")).unwrap();
    for (data, base, keys, said) in [
        ("pairs.csv", "single", "", "has one token type"),
        ("pairs.csv", "base", "[distill]\nlayers = 1\nstart = \"single\"", "has one token type"),
        (
            "single.csv",
            "base",
            "[task]\nmax_tokens = 64\n[distill]\nlayers = 1\nstart = \"short\"",
            "for 40 tokens",
        ),
        (
            "single.csv",
            "base",
            "[task]\nmax_tokens = 16\n[distill]\nlayers = 2\nstart = \"short\"",
            "layers 2 of a model",
        ),
        ("single.csv", "base", "[distill]\nlayers = 9\nstart = \"single\"", "layers 9 of a model"),
        // the head would read another pooler than it was trained on
        ("single.csv", "base\"\npooler = \"pass", "[train]\nepochs = 0", "classifier"),
    ] {
        let text = format!(
            "output = \"out\"\n[data]\ntrain = \"{data}\"\n[base]\ncheckpoint = \"{base}\"\n{keys}\n[pack]\nname = \"x\"\n"
        );
        let recipe = Recipe::parse(&text, &path("recipe.toml")).unwrap();
        let error = run(&recipe, Until::Pack, &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains(said), "{data} {base} {keys}: {error}");
        assert!(!path("out").exists(), "{keys}");
    }
    let text = "output = \"out\"\n[data]\ntrain = \"single.csv\"\n[base]\ncheckpoint = \"base\"\n[pack]\nname = \"x\"\n\
                golden_messages = \"golden.txt\"\n";
    let long = "piece5 ".repeat(150_000);
    for (golden, said) in [
        ("", "it is empty"),
        (&"piece5\n".repeat(1025), "1025 messages, and a bundle takes 1024"),
        (&long, "1 messages of 1050000 bytes"),
    ] {
        std::fs::write(path("golden.txt"), golden).unwrap();
        let error =
            run(&Recipe::parse(text, &path("recipe.toml")).unwrap(), Until::Pack, &mut |_| ()).unwrap_err();
        assert!(matches!(error, RunError::Golden { .. }) && error.to_string().contains(said), "{error}");
        assert!(!path("out").exists());
    }
}

#[test]
fn recipes_made_in_a_program_are_checked_like_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    base().save(&path("base")).unwrap();
    std::fs::write(path("data.csv"), "text,label\npiece1,a\npiece2,b\npiece3,a\npiece4,b\n").unwrap();
    let text = "output = \"out\"\n[data]\ntrain = \"data.csv\"\n[base]\ncheckpoint = \"base\"\n[pack]\nname = \"x\"\n";
    type Change = fn(&mut Recipe);
    let changes: [(Change, &str); 3] = [
        (|recipe| recipe.train.batch_size = 0, "batch_size"),
        (|recipe| recipe.train.learning_rate = Some(f64::NAN), "learning_rate"),
        (|recipe| recipe.pack.name = String::new(), "name"),
    ];
    for (change, said) in changes {
        let mut recipe = Recipe::parse(text, &path("recipe.toml")).unwrap();
        change(&mut recipe);
        let error = run(&recipe, Until::Pack, &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains(said), "{said}: {error}");
        assert!(!path("out").exists(), "{said}");
    }
}

/// Whoever prints an error with its sources would print that twice.
#[test]
fn no_error_says_again_what_its_source_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    base().save(&path("base")).unwrap();
    std::fs::write(path("x.bundle"), b"\x89GCB").unwrap();
    std::fs::write(path("data.csv"), "text,label\npiece5,a\npiece6,b\npiece7,a\npiece8,b\n").unwrap();
    let run = |base: &str, licence: &str| {
        let text = format!(
            "output = \"out\"\n[data]\ntrain = \"data.csv\"\ndev_fraction = 0.5\n[base]\ncheckpoint = \"{base}\"\n\
             [pack]\nname = \"x\"\nbase_licence = \"{licence}\"\n"
        );
        run(&Recipe::parse(&text, &path("recipe.toml")).unwrap(), Until::Train, &mut |_| ()).unwrap_err()
    };
    let data = Dataset::read(&[Source::new(path("data.csv"))], None, None).unwrap();
    let mut tokenizer = base().tokenizer;
    tokenizer.vocab = "[PAD]\n".into();
    let errors: Vec<Box<dyn std::error::Error>> = vec![
        Box::new(Recipe::load(&path("nowhere.toml")).unwrap_err()),
        Box::new(Checkpoint::load(&path("nowhere")).unwrap_err()),
        Box::new(Dataset::read(&[Source::new(path("nowhere.csv"))], None, None).unwrap_err()),
        Box::new(run_bundle(&path("nowhere.bundle"), &data, &mut || ()).err().unwrap()),
        Box::new(run_bundle(&path("x.bundle"), &data, &mut || ()).err().unwrap()),
        Box::new(Encoded::new(data, &tokenizer, 8).unwrap_err()),
        Box::new(run("x.bundle", "MIT")),
        Box::new(run("base", "a\\nb")),
    ];
    for error in errors {
        let chain: Vec<String> =
            std::iter::successors(Some(&*error), |error| error.source()).map(ToString::to_string).collect();
        let repeats = |n: usize| chain[..n].iter().any(|before| before.contains(&chain[n]));
        assert!(!(1..chain.len()).any(repeats), "{chain:?}");
    }
}
