//! A complete `goldcrest run` in seconds, on a tiny random checkpoint and the repository's voice commands.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::{binary, root, run_ok, scratch, write_tiny_checkpoint};

/// A finished run.
pub struct TinyRun {
    /// Folder with `base/`, `recipe.toml` and `out/`.
    pub folder: PathBuf,
    /// The resulting bundle.
    pub bundle: PathBuf,
}

/// Runs the tiny recipe in an empty folder of this name.
///
/// # Panics
/// If the run fails or makes no bundle.
pub fn tiny_run(name: &str) -> TinyRun {
    let (folder, recipe) = tiny_recipe(name);
    run_ok(Command::new(binary("goldcrest")).arg("run").arg(&recipe), b"", Duration::from_secs(300));
    let bundle = folder.join("out/tiny.bundle");
    assert!(bundle.is_file(), "goldcrest run made no {}", bundle.display());
    TinyRun { folder, bundle }
}

/// Creates an empty folder of this name with the tiny checkpoint and its recipe; returns the paths of folder
/// and recipe.
///
/// # Panics
/// If a file cannot be written.
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

/// Returns the texts and labels of the repository's own data set. Its texts contain no double quotes.
///
/// # Panics
/// If the file is missing or a line is not `text,label`.
pub fn voice_commands() -> Vec<(String, String)> {
    let text = fs::read_to_string(voice_commands_csv()).expect("voice commands");
    let row = |line: &str| {
        let (text, label) = line.rsplit_once(',').expect("text,label");
        (text.trim_matches('"').to_owned(), label.to_owned())
    };
    text.lines().skip(1).map(row).collect()
}
