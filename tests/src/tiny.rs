//! A whole `goldcrest run` in seconds: a tiny random checkpoint, the repository's voice commands.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::{binary, root, run_ok, scratch, write_tiny_checkpoint};

/// A finished run.
pub struct TinyRun {
    /// Holds `base/`, `recipe.toml` and `out/`.
    pub folder: PathBuf,
    /// The bundle that it made.
    pub bundle: PathBuf,
}

/// Runs the tiny recipe in an empty folder of that name.
///
/// # Panics
/// When the run fails or makes no bundle.
pub fn tiny_run(name: &str) -> TinyRun {
    let (folder, recipe) = tiny_recipe(name);
    run_ok(Command::new(binary("goldcrest")).arg("run").arg(&recipe), b"", Duration::from_secs(300));
    let bundle = folder.join("out/tiny.bundle");
    assert!(bundle.is_file(), "goldcrest run made no {}", bundle.display());
    TinyRun { folder, bundle }
}

/// An empty folder of that name with the tiny checkpoint and its recipe; the recipe's path beside it.
///
/// # Panics
/// When a file cannot be written.
pub fn tiny_recipe(name: &str) -> (PathBuf, PathBuf) {
    let folder = scratch(name);
    let data = voice_commands_csv();
    write_tiny_checkpoint(&folder.join("base"), &fs::read_to_string(&data).expect("voice commands"));
    let template = fs::read_to_string(root().join("tests/data/tiny.toml")).expect("tests/data/tiny.toml");
    let path = |path: PathBuf| path.to_str().expect("path is UTF-8").to_owned();
    let text = template
        .replace("{data}", &path(data))
        .replace("{base}", &path(folder.join("base")))
        .replace("{out}", &path(folder.join("out")));
    let recipe = folder.join("recipe.toml");
    fs::write(&recipe, text).expect("write the recipe");
    (folder, recipe)
}

fn voice_commands_csv() -> PathBuf {
    root().join("host/recipes/data/voice_commands.csv")
}

/// The repository's own data set: text and label. Its texts hold no double quotes.
///
/// # Panics
/// When the file is missing or a line is not `text,label`.
pub fn voice_commands() -> Vec<(String, String)> {
    let text = fs::read_to_string(voice_commands_csv()).expect("voice commands");
    let row = |line: &str| {
        let (text, label) = line.rsplit_once(',').expect("text,label");
        (text.trim_matches('"').to_owned(), label.to_owned())
    };
    text.lines().skip(1).map(row).collect()
}
