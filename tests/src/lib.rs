//! Helpers shared by the end-to-end tests in `tests/`.
//!
//! The tests run the two binaries as a user does, from the target folder that the tests themselves were built
//! into. `cargo test --workspace` builds them; with `-p goldcrest-tests` alone, run `cargo build --release`
//! first.

mod checkpoint;
mod process;
mod records;
mod tiny;

pub use checkpoint::write_tiny_checkpoint;
pub use process::{Finished, run, run_ok};
pub use records::{Answer, Difference, Record, compare, records};
pub use tiny::{TinyRun, tiny_recipe, tiny_run, voice_commands};

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Returns the root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

/// Returns the target folder, wherever it is: test binaries lie in `target/<profile>/deps/`.
pub fn target_dir() -> PathBuf {
    let test = env::current_exe().expect("path of the running test");
    test.ancestors().nth(3).expect("target folder").to_path_buf()
}

/// Returns the path of a binary of this workspace, built for this machine.
///
/// # Panics
/// If it was not built.
pub fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().expect("path of the running test");
    let path = test.ancestors().nth(2).expect("profile folder").join(name);
    assert!(path.is_file(), "{} is missing: cargo build --release", path.display());
    path
}

/// Returns the repository's own messages, one per line, as bytes for a standard input.
pub fn messages() -> Vec<u8> {
    let path = root().join("tests/data/messages.txt");
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Returns every bundle in `models/`.
pub fn bundles() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root().join("models"))
        .into_iter()
        .flatten()
        .filter_map(|folder| fs::read_dir(folder.ok()?.path()).ok())
        .flatten()
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "bundle"))
        .collect();
    found.sort();
    found
}

/// Creates an empty folder for a test's files. It is kept after the test, for inspection or later checks.
pub fn scratch(name: &str) -> PathBuf {
    let path = target_dir().join("tmp").join(name);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}

/// Prints a line that the test harness does not capture.
pub fn report(line: &str) {
    // unlike eprintln!, write_all on the handle bypasses the harness's capture
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Reports why a test is skipped. If GOLDCREST_REQUIRE is set (as in `scripts/test.sh`), that is a failure.
///
/// # Panics
/// If GOLDCREST_REQUIRE is set.
pub fn skip(why: &str) {
    assert!(env::var_os("GOLDCREST_REQUIRE").is_none(), "must run here, but {why}");
    report(&format!("skipped: {why}"));
}
