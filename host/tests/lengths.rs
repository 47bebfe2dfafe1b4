//! Input lengths and windows if a recipe leaves them open.

mod support;

use goldcrest::bert::{Checkpoint, InputFormat, TextWindows};
use goldcrest::export;
use goldcrest::recipe::{Progress, Recipe, Until, run};
use goldcrest::train::Event;
use goldcrest_edge::bundle::{Bundle, Windows};
use support::{SHAPES, Shape, checkpoint_with_pieces};

/// Saves an encoder without a head.
fn save_base(folder: &std::path::Path, positions: usize) {
    let mut base = checkpoint_with_pieces(&Shape { positions, ..SHAPES[2] }, 7);
    base.drop_head();
    base.save(folder).unwrap();
}

#[test]
fn input_length_follows_the_texts() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, positions) in [("base", 300), ("short", 100)] {
        save_base(&path(name), positions);
    }
    // the length at which training texts were truncated, and the number of windows
    let read = |checkpoint: &str, long: usize, task: &str| {
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
        let (mut cut, mut windows) = (None, None);
        let first = |text: &str| text.split(' ').next().and_then(|number| number.parse::<usize>().ok());
        let mut watch = |progress: Progress| {
            if let Progress::Note(note) = progress {
                cut = cut.or(note.split_once("are longer than ").and_then(|(_, rest)| first(rest)));
                windows =
                    windows.or(note.split_once("are learned from as ").and_then(|(_, rest)| first(rest)));
            }
        };
        run(&Recipe::parse(&text, &path("recipe.toml")).unwrap(), Until::Train, &mut watch).unwrap();
        (cut, windows)
    };
    assert_eq!(read("base", 0, ""), (None, None));
    assert_eq!(read("base", 4, ""), (Some(128), None));
    assert_eq!(read("base", 5, ""), (Some(256), None));
    assert_eq!(read("base", 5, "max_tokens = 64"), (Some(64), None));
    // 290 words and an unknown one, 126 per window
    assert_eq!(read("base", 5, "windows = { overlap = 0, most = 8 }"), (None, Some(75 + 5 * 3)));
    // too few windows to read everything
    assert_eq!(read("base", 5, "windows = { overlap = 0, most = 2 }"), (Some(2), Some(75 + 5 * 2)));
    // if more than a fifth are longer even than 256, all of them is read
    assert_eq!(read("base", 16, ""), (Some(256), None));
    assert_eq!(read("base", 17, ""), (None, Some(63 + 17 * 2)));
    assert_eq!(read("base", 17, "max_tokens = 256"), (Some(256), None));
    // never more than the base has positions
    assert_eq!(read("short", 5, ""), (Some(100), None));
}

#[test]
fn windowed_texts_are_measured_as_on_the_device() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut base = checkpoint_with_pieces(&SHAPES[2], 7);
    base.drop_head();
    base.save(&path("base")).unwrap();
    // the two labels differ only in the last word
    let line = |i: usize| {
        let words = format!("piece{} ", 5 + i % 30).repeat(1 + 7 * (i % 9));
        format!("{words}piece{},{}\n", 35 + i % 2, i % 2)
    };
    std::fs::write(path("data.csv"), format!("text,label\n{}", (0..120).map(line).collect::<String>()))
        .unwrap();
    let recipe = "output = \"run\"\n[data]\ntrain = \"data.csv\"\n[base]\ncheckpoint = \"base\"\n[task]\nmax_tokens = 16\n\
         windows = { overlap = 3, most = 4 }\n[train]\nepochs = 2\n[quantize]\nmax_drop = 100\naware = \"never\"\n[pack]\nname = \"x\"\n";
    let recipe = Recipe::parse(recipe, &path("recipe.toml")).unwrap();
    let mut chosen = f64::NEG_INFINITY;
    let mut watch = |progress: Progress| {
        if let Progress::Training(Event::Evaluated { value, .. }) = progress {
            chosen = chosen.max(value);
        }
    };
    let comparison = run(&recipe, Until::Pack, &mut watch).unwrap().comparison.unwrap();
    // the device averages over the windows, and so does training
    assert!(comparison.largest_export_difference.unwrap() < 1e-4, "{comparison:?}");
    let trained = comparison.host.unwrap().metrics.get(comparison.metric).unwrap();
    assert_eq!(trained, chosen);
}

#[test]
fn default_windows_are_stored_in_the_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    save_base(&path("base"), 100);
    let line =
        |i: usize| format!("{}piece{},{}\n", "piece9 ".repeat(150 + 600 * (i % 10 / 9)), 35 + i % 2, i % 2);
    let lines = (0..40).map(|i| format!("piece{} {}", 50 + i, line(i)));
    std::fs::write(path("data.csv"), format!("text,label\n{}", lines.collect::<String>())).unwrap();
    let recipe = "output = \"run\"\n[data]\ntrain = \"data.csv\"\n[base]\ncheckpoint = \"base\"\n[train]\nepochs = 0.1\n\
         [quantize]\nmax_drop = 100\naware = \"never\"\n[pack]\nname = \"x\"\n";
    let (notes, file) = packed(recipe, &path("recipe.toml"));
    assert!(notes.contains("are longer than 8 of them and are cut off"), "{notes}");
    let bytes = std::fs::read(&file).unwrap();
    let bundle = Bundle::read(&bytes).unwrap();
    let manifest = bundle.manifest();
    assert_eq!((manifest.max_tokens, manifest.windows), (100, Windows::Mean { overlap: 16, most: 8 }));
    // they are stored in the checkpoint too, so that later commands use them
    let windows = Some(TextWindows { overlap: 16, most: 8 });
    let input = Some(InputFormat { max_tokens: 100, pairs: false, windows });
    assert_eq!(Checkpoint::load(&path("run/teacher")).unwrap().config.input, input);
    assert_eq!(export::checkpoint(&file).unwrap().config.input, input);
}

/// Returns the notes and the bundle of a run.
fn packed(text: &str, path: &std::path::Path) -> (String, std::path::PathBuf) {
    let mut notes = String::new();
    let mut watch = |progress: Progress| {
        if let Progress::Note(note) = progress {
            notes = format!("{notes}{note}\n");
        }
    };
    let bundle = run(&Recipe::parse(text, path).unwrap(), Until::Pack, &mut watch).unwrap().bundle.unwrap();
    (notes, bundle)
}

#[test]
fn windows_of_evaluation_texts_are_not_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    save_base(&path("base"), 100);
    let rows = |from: usize| -> String {
        (from..from + 20)
            .map(|i| format!("{}piece{i},{}\n", format!("piece{} ", 9 + i).repeat(150), i % 2))
            .collect()
    };
    std::fs::write(path("train.csv"), format!("text,label\n{}", rows(100))).unwrap();
    std::fs::write(path("dev.csv"), format!("text,label\n{}", rows(200))).unwrap();
    std::fs::write(path("more.csv"), format!("text,label\n{}{}", rows(200), rows(300))).unwrap();
    let text = "output = \"run\"\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\n[base]\ncheckpoint = \"base\"\n[train]\nepochs = 0.1\n\
         [distill]\nlayers = 1\nepochs = 0.1\nreplaced = 0\nunlabelled = [\"more.csv\"]\n[quantize]\nmax_drop = 100\naware = \"never\"\n\
         [pack]\nname = \"x\"\ngolden = 20\n";
    let (notes, bundle) = packed(text, &path("recipe.toml"));
    // two windows of each text, none of dev, and nothing spliced
    assert!(notes.contains("80 texts to learn from: 40 with labels, 40 without"), "{notes}");
    let bytes = std::fs::read(&bundle).unwrap();
    assert_eq!(Bundle::read(&bytes).unwrap().golden().unwrap().len(), 20);
}
