//! Which rows are learned from, chosen on and measured on.
use super::*;

#[test]
fn test_texts_are_removed_from_train_and_dev() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    base().save(&path("base")).unwrap();
    let row = |i: usize| format!("piece{} piece{},{}\n", i + 5, i + 6, ["a", "b"][i % 2]);
    let rows =
        |range: std::ops::Range<usize>| "text,label\n".to_owned() + &range.map(row).collect::<String>();
    std::fs::write(path("train.csv"), rows(0..40)).unwrap();
    std::fs::write(path("test.csv"), rows(0..20)).unwrap();
    std::fs::write(path("dev.csv"), rows(15..25)).unwrap();
    let notes = |dev: &str| {
        let text = format!(
            "output = \"out\"\n[data]\ntrain = \"train.csv\"\ntest = \"test.csv\"\n{dev}\n[base]\ncheckpoint = \"base\"\n[task]\nmax_tokens = 16\n\
             [train]\nepochs = 0\n[pack]\nname = \"x\"\n"
        );
        let mut notes = String::new();
        let recipe = Recipe::parse(&text, &path("recipe.toml")).unwrap();
        // the run ends with an error about a missing head, after reporting what it read
        let error = run(&recipe, Until::Train, &mut |progress| {
            if let Progress::Note(note) = progress {
                notes += &format!("{note}\n");
            }
        });
        assert!(matches!(error, Err(RunError::NoHead { .. })));
        notes
    };
    let split = notes("dev_fraction = 0.2");
    assert!(split.contains("16 rows to learn from, 4 to choose on, 20 to measure on"), "{split}");
    let given = notes("dev = \"dev.csv\"");
    assert!(given.contains("15 rows to learn from, 5 to choose on, 20 to measure on"), "{given}");
    std::fs::write(path("dev.csv"), rows(0..10)).unwrap();
    let text = "output = \"out\"\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\ntest = \"test.csv\"\n[base]\ncheckpoint = \"base\"\n";
    let error =
        run(&Recipe::parse(text, &path("recipe.toml")).unwrap(), Until::Train, &mut |_| ()).unwrap_err();
    assert!(error.to_string().starts_with("nothing is left to choose on"), "{error}");
    std::fs::write(path("dev.csv"), rows(0..40)).unwrap();
    let text = "output = \"out\"\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\n[base]\ncheckpoint = \"base\"\n[pack]\nname = \"x\"\n";
    let error =
        run(&Recipe::parse(text, &path("recipe.toml")).unwrap(), Until::Train, &mut |_| ()).unwrap_err();
    assert!(matches!(error, RunError::NothingLeft { .. }), "{error}");
}

#[test]
fn the_rows_are_those_that_the_recipe_describes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut model = checkpoint_with_pieces(&SHAPES[2], 7);
    model.config.set_labels(&["a", "b", "c", "d", "e"].map(String::from), Task::SingleLabel);
    model.save(&path("base")).unwrap();
    let row = |i: usize| format!("piece{},piece{},{}\n", i + 5, i + 6, ["a", "b", "c", "d", "e"][i * i % 5]);
    std::fs::write(
        path("pairs.csv"),
        "text_a,text_b,label\n".to_owned() + &(0..60).map(row).collect::<String>(),
    )
    .unwrap();
    // trained for no step, the model's figure on dev tells which rows these are
    let of = |keys: &str, decision: &str| {
        let text = format!(
            "output = \"out\"\n[data]\ntrain = \"pairs.csv\"\ndev_fraction = 0.2\n{keys}\n[base]\ncheckpoint = \"base\"\n\
             pooler = \"keep\"\n[task]\nmax_tokens = 16\nlabels = [\"a\", \"b\", \"c\", \"d\", \"e\"]\n[train]\nepochs = 0\n\
             [decision]\n{decision}\n[pack]\nname = \"x\"\n"
        );
        let mut notes = String::new();
        let finished =
            run(&Recipe::parse(&text, &path("recipe.toml")).unwrap(), Until::Train, &mut |progress| {
                if let Progress::Note(note) = progress {
                    notes += &format!("{note}\n");
                }
            });
        (notes, finished.unwrap().teachers[0].best)
    };
    let (notes, _) = of("", "");
    assert!(
        notes.contains("48 rows to learn from, 12 to choose on") && !notes.contains("decision."),
        "{notes}"
    );
    let (notes, _) = of("symmetric = true", "");
    assert!(notes.contains("96 rows to learn from, 12 to choose on"), "{notes}");
    let figures: Vec<f64> = (1..9).map(|seed| of(&format!("seed = {seed}"), "").1).collect();
    assert!(figures.iter().any(|figure| *figure != figures[0]), "{figures:?}");
    for (key, what) in [("max_error", "errors"), ("false_reject", "false rejects")] {
        let (notes, _) = of("", &format!("{key} = 0.05"));
        let few = format!("decision.{key} = 0.05 is fitted on 12 rows, too few to show so few {what}");
        assert!(notes.contains(&few), "{notes}");
    }
}

#[test]
fn what_a_test_set_leaves_has_to_be_worth_learning() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let rows = |label: &str, range: std::ops::Range<usize>| -> String {
        range.map(|i| format!("piece{i},{label}\n")).collect()
    };
    let (a, b) = (rows("a", 5..25), rows("b", 30..35));
    std::fs::write(path("train.csv"), format!("text,label\n{a}{b}")).unwrap();
    std::fs::write(path("test.csv"), format!("text,label\n{b}")).unwrap();
    let text = "output = \"out\"\n[data]\ntrain = \"train.csv\"\ntest = \"test.csv\"\n[base]\ncheckpoint = \"base\"\n\
                [pack]\nname = \"x\"\n";
    let error =
        run(&Recipe::parse(text, &path("recipe.toml")).unwrap(), Until::Train, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("there is nothing to learn"), "{error}");
}
