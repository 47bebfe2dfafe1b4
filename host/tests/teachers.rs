//! Teachers' answers are computed once and cached.

mod support;

use goldcrest::bert::ops::Precision;
use goldcrest::bert::{Checkpoint, Classifier};
use goldcrest::data::{Dataset, Source, Task};
use goldcrest::recipe::{Progress, Recipe, Until, run};
use goldcrest::train::{Encoded, Event, predict_with_vectors, soft_labels};
use support::{SHAPES, checkpoint_with_pieces, spoiled};

/// Returns how many teachers were asked, and whether the student was reused.
fn distil(recipe: &Recipe) -> (u32, Option<bool>) {
    let (mut asked, mut reused) = (0, None);
    let mut watch = |progress: Progress| match progress {
        Progress::Note(note) => asked += u32::from(note.starts_with("asking")),
        Progress::Step { name: "distill", reused: again } => reused = Some(again),
        _ => {}
    };
    run(recipe, Until::Distill, &mut watch).unwrap();
    (asked, reused)
}

#[test]
fn adding_a_teacher_reuses_cached_answers_and_retrains_the_student() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut base = checkpoint_with_pieces(&SHAPES[2], 7);
    base.drop_head();
    base.save(&path("base")).unwrap();
    let lines = (5..45).map(|i| format!("piece{i} piece{},{}\n", i + 1, if i % 2 == 0 { "a" } else { "b" }));
    std::fs::write(path("data.csv"), "text,label\n".to_string() + &lines.collect::<String>()).unwrap();
    let recipe_on = |base: &str, epochs: u32, output: &str, seed: u32, distill: &str| {
        let text = format!(
            "output = \"{output}\"\n[data]\ntrain = \"data.csv\"\n[base]\ncheckpoint = \"{base}\"\n[task]\nmax_tokens = 16\n\
             [train]\nepochs = {epochs}\nseed = {seed}\n{distill}\n[pack]\nname = \"x\"\n"
        );
        Recipe::parse(&text, &path("recipe.toml")).unwrap()
    };
    let recipe = |output: &str, seed, distill: &str| recipe_on("base", 2, output, seed, distill);
    for seed in 1..3 {
        run(&recipe(&format!("other{seed}"), seed, ""), Until::Train, &mut |_| ()).unwrap();
    }
    let distilled = |others: &str| {
        let distill =
            format!("[distill]\nlayers = 1\nepochs = 1\ncls_weight = 0\nother_teachers = [{others}]");
        distil(&recipe("out", 0, &distill))
    };
    assert_eq!(distilled("\"other1/teacher\""), (2, Some(false)));
    assert_eq!(distilled("\"other1/teacher\", \"other2/teacher\""), (1, Some(false)));
    assert_eq!(distilled("\"other1/teacher\", \"other2/teacher\""), (0, Some(true)));
    // it is trained without dropout, and whoever trains it further begins with the base's
    let student = Checkpoint::load(&path("out/student")).unwrap().config;
    assert_eq!((student.hidden_dropout_prob, student.attention_probs_dropout_prob), (0.1, 0.1));
    // another seed gives other augmented texts, though the teacher is the same
    let seeded = |seed| {
        distil(&recipe_on(
            "other1/teacher",
            0,
            "seeds",
            seed,
            "[distill]\nlayers = 1\nepochs = 1\nreplaced = 1",
        ))
    };
    assert_eq!(seeded(0), (1, Some(false)));
    assert_eq!(seeded(0), (0, Some(true)));
    assert_eq!(seeded(1), (1, Some(false)));
}

/// Makes a classifier of the labels in the data below.
fn classifier(seed: u64) -> Checkpoint {
    let shape = &SHAPES[2];
    let mut model = checkpoint_with_pieces(shape, seed);
    let labels: Vec<String> = (0..shape.labels).map(|i| format!("label{i}")).collect();
    model.config.set_labels(&labels, Task::SingleLabel);
    model
}

fn rows(range: std::ops::Range<usize>) -> String {
    let rows = range.map(|i| format!("piece{i} piece{},label{}\n", i + 1, i % 5));
    "text,label\n".to_string() + &rows.collect::<String>()
}

#[test]
fn a_student_is_made_anew_if_anything_it_depends_on_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (seed, name) in (7..).zip(["base", "base2", "other", "start"]) {
        classifier(seed).save(&path(name)).unwrap();
    }
    for (name, range) in [("train.csv", 5..45), ("dev.csv", 100..110), ("test.csv", 200..210)] {
        std::fs::write(path(name), rows(range)).unwrap();
    }
    std::fs::write(path("more.txt"), "piece300 piece301\n").unwrap();
    let usual = "output = \"out\"\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\n[base]\ncheckpoint = \"base\"\n\
                 [task]\nmax_tokens = 16\n[train]\nepochs = 0\n[distill]\nlayers = 1\nepochs = 1\nreplaced = 1\nspliced = 0\n\
                 mixed = 0\nstart = \"start\"\nother_teachers = [\"other\"]\nunlabelled = [\"more.txt\"]\n[pack]\nname = \"x\"\n";
    let made = |from: &str, to: &str| {
        distil(&Recipe::parse(&usual.replace(from, to), &path("recipe.toml")).unwrap())
    };
    let again = || made("name", "name");
    assert_eq!(again(), (2, Some(false)));
    // the number of teachers asked again tells whether the texts are the same
    for (from, to, asked) in [
        ("[train]", "[train]\nbatch_size = 8", 0),
        ("[task]", "[task]\nmetric = \"macro-f1\"", 0),
        ("dev =", "test = \"test.csv\"\ndev =", 2),
        ("\"base\"", "\"base2\"", 2),
        ("[\"other\"]", "[\"other\", \"base2\"]", 1),
    ] {
        again();
        assert_eq!(again(), (0, Some(true)));
        assert_eq!(made(from, to), (asked, Some(false)), "{to}");
    }
    type Change<'a> = &'a dyn Fn();
    let changes: [(&str, Change, u32); 3] = [
        ("start", &|| classifier(1).save(&path("start")).unwrap(), 0),
        ("other", &|| classifier(2).save(&path("other")).unwrap(), 1),
        ("more.txt", &|| std::fs::write(path("more.txt"), "piece400 piece401\n").unwrap(), 2),
    ];
    for (name, change, asked) in changes {
        again();
        change();
        assert_eq!(again(), (asked, Some(false)), "{name}");
        assert_eq!(again(), (0, Some(true)));
    }
}

#[test]
fn a_stage_is_made_anew_if_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    classifier(7).save(&path("base")).unwrap();
    std::fs::write(path("train.csv"), rows(5..45)).unwrap();
    let made = |layers: &str| {
        let text = format!(
            "output = \"out\"\n[data]\ntrain = \"train.csv\"\n[base]\ncheckpoint = \"base\"\n[task]\nmax_tokens = 16\n\
             [train]\nepochs = 0\n[distill]\nepochs = 0.1\nreplaced = 0\n[[distill.stages]]\nlayers = {layers}\n[pack]\nname = \"x\"\n"
        );
        distil(&Recipe::parse(&text, &path("recipe.toml")).unwrap())
    };
    assert_eq!(
        [made("[0]"), made("[0]"), made("[1]")],
        [(1, Some(false)), (0, Some(true)), (0, Some(false))]
    );
}

#[test]
fn a_teacher_is_trained_anew_if_anything_it_depends_on_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, rows: &str| std::fs::write(path(name), rows).unwrap();
    classifier(7).save(&path("base")).unwrap();
    write("train.csv", &rows(5..45));
    write("dev.csv", &rows(100..110));
    let usual = "output = \"out\"\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\n[base]\ncheckpoint = \"base\"\n\
                 [task]\nmax_tokens = 16\n[train]\nepochs = 0.1\n[pack]\nname = \"x\"\n";
    let reused = |text: &str| {
        let mut found = None;
        run(&Recipe::parse(text, &path("recipe.toml")).unwrap(), Until::Train, &mut |progress| {
            if let Progress::Step { name: "train", reused } = progress {
                found = Some(reused);
            }
        })
        .unwrap();
        found.unwrap()
    };
    assert!(!reused(usual) && reused(usual));
    for (from, to) in [
        ("= 16", "= 12"),
        ("[train]", "[train]\nseed = 1"),
        ("[train]", "[train]\nsoup = 2"),
        ("[task]", "[task]\nmetric = \"macro-f1\""),
        ("\"base\"", "\"base\"\npooler = \"pass\""),
    ] {
        assert!(!reused(&usual.replace(from, to)) && !reused(usual), "{to}");
    }
    // two labels exchanged: the texts and the labels are the same
    let exchanged =
        rows(5..45).replace("piece6,label0", "piece6,label1").replace("piece7,label1", "piece7,label0");
    assert_ne!(exchanged, rows(5..45));
    write("train.csv", &exchanged);
    assert!(!reused(usual), "train");
    write("dev.csv", &rows(100..111));
    assert!(!reused(usual), "dev");
    classifier(8).save(&path("base")).unwrap();
    assert!(!reused(usual) && reused(usual), "base");
}

#[test]
fn every_teacher_and_every_averaged_run_has_a_seed_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    classifier(7).save(&path("base")).unwrap();
    std::fs::write(path("train.csv"), rows(5..45)).unwrap();
    let text = "output = \"out\"\n[data]\ntrain = \"train.csv\"\n[base]\ncheckpoint = \"base\"\n[task]\nmax_tokens = 16\n\
                [train]\nepochs = 1\nsoup = 2\n[distill]\nlayers = 1\nteachers = 2\n[pack]\nname = \"x\"\n";
    let mut runs: Vec<Vec<f32>> = Vec::new();
    run(&Recipe::parse(text, &path("recipe.toml")).unwrap(), Until::Train, &mut |progress| match progress {
        Progress::Step { .. } => runs.push(Vec::new()),
        Progress::Training(Event::Step { loss, .. }) => runs.last_mut().unwrap().push(loss),
        _ => {}
    })
    .unwrap();
    runs.retain(|losses| !losses.is_empty());
    assert_eq!(runs.len(), 4);
    assert!((0..4).all(|i| (0..i).all(|j| runs[i] != runs[j])), "{runs:?}");
}

#[test]
fn a_teacher_that_int8_ruins_answers_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("train.csv"), rows(5..45)).unwrap();
    for (name, model, ruined) in [("sound", classifier(7), false), ("spoiled", spoiled(), true)] {
        model.save(&path(name)).unwrap();
        let text = format!(
            "output = \"of-{name}\"\n[data]\ntrain = \"train.csv\"\n[base]\ncheckpoint = \"{name}\"\n[task]\nmax_tokens = 16\n\
             [train]\nepochs = 0\n[distill]\nlayers = 1\nepochs = 0.1\n[pack]\nname = \"x\"\n"
        );
        let mut said = false;
        run(&Recipe::parse(&text, &path("recipe.toml")).unwrap(), Until::Distill, &mut |progress| {
            said |= matches!(progress, Progress::Note(note) if note.starts_with("int8 differs too much"));
        })
        .unwrap();
        assert_eq!(said, ruined, "{name}");
    }
}

/// The student of a regression learns its n-grams' answers in the unit of the numbers.
#[test]
fn ngrams_answer_in_the_unit_of_the_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut base = checkpoint_with_pieces(&SHAPES[2], 7);
    base.drop_head();
    base.save(&path("base")).unwrap();
    let number = |i: usize| format!("piece{} piece{},{}\n", 5 + i % 40, 50 + i % 7, 1000 + i % 7);
    let table =
        |range: std::ops::Range<usize>| "text,score\n".to_owned() + &range.map(number).collect::<String>();
    std::fs::write(path("train.csv"), table(0..200)).unwrap();
    std::fs::write(path("dev.csv"), table(300..340)).unwrap();
    let text = "output = \"out\"\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\nremove_overlap = false\n[base]\n\
                checkpoint = \"base\"\n[task]\nmax_tokens = 16\n[train]\nepochs = 1\n[distill]\nngrams = true\nepochs = 10\n\
                learning_rate = 5e-3\n[pack]\nname = \"x\"\n";
    let (mut distils, mut losses) = (false, Vec::new());
    run(
        &Recipe::parse(text, &path("recipe.toml")).unwrap(),
        Until::Distill,
        &mut |progress| match progress {
            Progress::Step { name, .. } => distils = name == "distill",
            Progress::Training(Event::Step { loss, .. }) if distils => losses.push(loss),
            _ => {}
        },
    )
    .unwrap();
    // in squared deviations: without a mean of 1003 they would be hundreds of thousands
    assert!(losses.len() > 9 && losses[0] < 20.0, "{losses:?}");
}

/// Soft labels are computed in larger batches, which must not mix up the texts.
#[test]
fn soft_labels_are_the_model_s_answers() {
    let model = Classifier::trained(classifier(7)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("texts.csv");
    let text = |i: usize| -> String {
        (0..1 + i * 7 % 60).map(|j| format!("piece{} ", 5 + (i * 31 + j) % 600)).collect()
    };
    let rows: String = (0..1000).map(|i| format!("{},label{}\n", text(i), i % 5)).collect();
    std::fs::write(&path, format!("text,label\n{rows}")).unwrap();
    let data = Dataset::read_to_measure(&[Source::new(&path)], None, None).unwrap();
    let texts = Encoded::new(data, model.tokenizer(), 64).unwrap();
    let exact = predict_with_vectors(&model, &texts, &mut |_| ()).unwrap();
    for precision in [Precision::F32, Precision::fastest()] {
        let mut done = Vec::new();
        let soft = soft_labels(&model, &texts, true, precision, &mut |count| done.push(count)).unwrap();
        let most = if precision == Precision::F32 { 1e-4 } else { 0.1 };
        for (exact, soft) in [(&exact.logits, &soft.logits), (&exact.cls, &soft.cls)] {
            assert_eq!(exact.len(), soft.len());
            let scale = exact.iter().fold(0f32, |most, x| most.max(x.abs()));
            assert!(exact.iter().zip(soft).all(|(a, b)| (a - b).abs() < most * scale));
        }
        assert_eq!(done.last(), Some(&1000));
        assert!(done[0] > 64, "the shortest texts come first, in a larger batch: {done:?}");
        let logits = soft_labels(&model, &texts, false, precision, &mut |_| ()).unwrap();
        assert!(logits.logits == soft.logits && logits.cls.is_empty());
    }
}

#[test]
fn the_mean_of_equal_teachers_is_the_answer_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    classifier(7).save(&path("base")).unwrap();
    std::fs::write(path("train.csv"), rows(5..45)).unwrap();
    std::fs::write(path("dev.csv"), rows(100..110)).unwrap();
    let student = |output: &str, others: &str| {
        let text = format!(
            "output = \"{output}\"\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\n[base]\ncheckpoint = \"base\"\n[task]\n\
             max_tokens = 16\n[train]\nepochs = 0\n[distill]\nlayers = 1\nepochs = 1\ncls_weight = 0\nother_teachers = [{others}]\n[pack]\nname = \"x\"\n"
        );
        distil(&Recipe::parse(&text, &path("recipe.toml")).unwrap());
        std::fs::read(path(output).join("student/model.safetensors")).unwrap()
    };
    assert!(student("one", "") == student("two", "\"base\""));
}
