//! A run overwrites neither its inputs nor models of somebody else.
use super::*;

#[test]
fn input_models_are_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    base().save(&path("out/teacher")).unwrap();
    base().save(&path("out/base")).unwrap();
    let before = std::fs::read(path("out/teacher/model.safetensors")).unwrap();
    let row = |i: usize| format!("piece{} piece{},{}\n", i + 5, i + 6, ["a", "b"][i % 2]);
    std::fs::write(path("data.csv"), "text,label\n".to_owned() + &(0..20).map(row).collect::<String>())
        .unwrap();
    let trained = |base: &str| {
        let text = format!(
            "output = \"out\"\n[data]\ntrain = \"data.csv\"\n[base]\ncheckpoint = \"{base}\"\n[task]\nmax_tokens = 16\n\
             [train]\nepochs = 0.1\n[pack]\nname = \"x\"\n"
        );
        run(&Recipe::parse(&text, &path("recipe.toml")).unwrap(), Until::Train, &mut |_| ())
    };
    let error = trained("out/teacher").unwrap_err();
    assert!(matches!(error, RunError::Overwritten { .. }), "{error}");
    assert_eq!(std::fs::read(path("out/teacher/model.safetensors")).unwrap(), before);
    // a model of somebody else, that the recipe does not name
    base().save(&path("base")).unwrap();
    let error = trained("base").unwrap_err();
    assert!(matches!(error, RunError::Foreign { .. }), "{error}");
    // it may lie beside what the run writes
    base().save(&path("out/teacher-base")).unwrap();
    std::fs::remove_dir_all(path("out/teacher")).unwrap();
    trained("out/base").unwrap();
    trained("out/teacher-base").unwrap();
}

#[test]
fn nothing_that_a_run_writes_may_be_its_base() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let row = |i: usize| format!("piece{} piece{},{}\n", i + 5, i + 6, ["a", "b"][i % 2]);
    std::fs::write(path("data.csv"), "text,label\n".to_owned() + &(0..20).map(row).collect::<String>())
        .unwrap();
    for (number, inside) in [
        "",
        "/teacher/best",
        "/teacher-2",
        "/student",
        "/student-2",
        "/aware",
        "/answers",
        "/compares",
        "/packed",
    ]
    .into_iter()
    .enumerate()
    {
        let (output, base_path) = (format!("out{number}"), format!("out{number}{inside}"));
        base().save(&path(&base_path)).unwrap();
        let text = format!(
            "output = \"{output}\"\n[data]\ntrain = \"data.csv\"\n[base]\ncheckpoint = \"{base_path}\"\n[pack]\nname = \"x\"\n"
        );
        let recipe = Recipe::parse(&text, &path("recipe.toml")).unwrap();
        let error = run(&recipe, Until::Train, &mut |_| ()).unwrap_err();
        assert!(matches!(error, RunError::Overwritten { .. }), "{inside}: {error}");
    }
}

#[test]
fn input_texts_are_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    base().save(&path("base")).unwrap();
    let row = |i: usize| format!("piece{} piece{},{}\n", i + 5, i + 6, ["a", "b"][i % 2]);
    std::fs::write(path("data.csv"), "text,label\n".to_owned() + &(0..40).map(row).collect::<String>())
        .unwrap();
    let key = |key: &str, file: &str| {
        std::fs::copy(path("data.csv"), path(file)).unwrap();
        let train = if key == "train" { String::new() } else { "train = \"data.csv\"\n".into() };
        let text = format!(
            "output = \".\"\n[data]\n{train}{key} = \"{file}\"\nformat = \"csv\"\nremove_overlap = false\n[base]\ncheckpoint = \"base\"\n[pack]\nname = \"x\"\n"
        );
        let recipe = Recipe::parse(&text, &path("recipe.toml")).unwrap();
        let error = run(&recipe, Until::Train, &mut |_| ()).unwrap_err();
        assert!(matches!(&error, RunError::Overwritten { path, .. } if path.ends_with(file)), "{error}");
    };
    key("train", "report.json");
    key("dev", "report.md");
    key("test", "x.bundle");
    key("test", "x.fp32.bundle");
    key("test", "x.candidate.bundle");
}
