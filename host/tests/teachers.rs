//! Teachers' answers are computed once and cached.

mod support;

use goldcrest::recipe::{Progress, Recipe, Until, run};
use support::{SHAPES, checkpoint_with_pieces};

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
    let distil = |recipe: &Recipe| {
        let (mut asked, mut reused) = (0, None);
        let mut watch = |progress: Progress| match progress {
            Progress::Note(note) => asked += u32::from(note.starts_with("asking")),
            Progress::Step { name: "distill", reused: again } => reused = Some(again),
            _ => {}
        };
        run(recipe, Until::Distill, &mut watch).unwrap();
        (asked, reused)
    };
    let distilled = |others: &str| {
        let distill = format!("[distill]\nlayers = 1\nepochs = 1\nother_teachers = [{others}]");
        distil(&recipe("out", 0, &distill))
    };
    assert_eq!(distilled("\"other1/teacher\""), (2, Some(false)));
    assert_eq!(distilled("\"other1/teacher\", \"other2/teacher\""), (1, Some(false)));
    assert_eq!(distilled("\"other1/teacher\", \"other2/teacher\""), (0, Some(true)));
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
