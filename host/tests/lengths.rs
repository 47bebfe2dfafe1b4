//! How long inputs are where a recipe leaves it open.

mod support;

use goldcrest::recipe::{Progress, Recipe, Until, run};
use support::{SHAPES, Shape, checkpoint_with_pieces};

#[test]
fn inputs_are_longer_where_many_texts_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, positions) in [("base", 300), ("short", 100)] {
        let mut base = checkpoint_with_pieces(&Shape { positions, ..SHAPES[2] }, 7);
        base.tensors.retain(|name, _| !name.starts_with("classifier."));
        base.save(&path(name)).unwrap();
    }
    // what the training texts were cut off at
    let cut_at = |checkpoint: &str, long: usize, task: &str| {
        let line = |i: usize| {
            let words = if i < long { 290 } else { 3 };
            format!("{} x{i},{}\n", format!("piece{} ", 5 + i % 40).repeat(words), i % 2)
        };
        std::fs::write(path("data.csv"), format!("text,label\n{}", (0..80).map(line).collect::<String>()))
            .unwrap();
        let text = format!(
            "output = \"{checkpoint}-{long}-{}\"\n[data]\ntrain = \"data.csv\"\ndev = \"data.csv\"\nremove_overlap = false\n[base]\n\
             checkpoint = \"{checkpoint}\"\n[task]\n{task}\n[train]\nepochs = 0.1\n[pack]\nname = \"x\"\n",
            task.len()
        );
        let mut cut = None;
        let mut watch = |progress: Progress| {
            if let Progress::Note(note) = progress
                && let Some((_, rest)) = note.split_once("are longer than ")
            {
                cut = rest.split(' ').next().and_then(|tokens| tokens.parse().ok());
            }
        };
        run(&Recipe::parse(&text, &path("recipe.toml")).unwrap(), Until::Train, &mut watch).unwrap();
        cut
    };
    assert_eq!(cut_at("base", 0, ""), None);
    assert_eq!(cut_at("base", 4, ""), Some(128));
    assert_eq!(cut_at("base", 5, ""), Some(256));
    assert_eq!(cut_at("base", 5, "max_tokens = 64"), Some(64));
    assert_eq!(cut_at("base", 5, "windows = { overlap = 16, most = 8 }"), Some(128));
    // no more than the base has positions
    assert_eq!(cut_at("short", 5, ""), Some(100));
}
