//! Tests that cross the crates, in `tests/`; here is what they share.
//!
//! They run the two binaries as a user does, from the target folder that the tests themselves were built into.
//! `cargo test --workspace` builds them; with `-p goldcrest-tests` alone, `cargo build --release` first.

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

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

/// `target/`, wherever it is: test binaries lie in `target/<profile>/deps/`.
pub fn target_dir() -> PathBuf {
    let test = env::current_exe().expect("path of the running test");
    test.ancestors().nth(3).expect("target folder").to_path_buf()
}

/// A binary of this workspace for the machine that the tests run on.
///
/// # Panics
/// When it was not built.
pub fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().expect("path of the running test");
    let path = test.ancestors().nth(2).expect("profile folder").join(name);
    assert!(path.is_file(), "{} is missing: cargo build --release", path.display());
    path
}

/// The repository's own messages, one a line, as bytes for a standard input.
pub fn messages() -> Vec<u8> {
    let path = root().join("tests/data/messages.txt");
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every bundle in `models/`.
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

/// An empty folder for a test's files. It stays after the test, for a look or for a later check.
pub fn scratch(name: &str) -> PathBuf {
    let path = target_dir().join("tmp").join(name);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}

/// A line that the test harness does not swallow.
pub fn report(line: &str) {
    // write_all on the handle passes by the harness's capture, eprintln! does not
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Says why a test does nothing here; where GOLDCREST_REQUIRE is set (as in `scripts/test.sh`) that is a failure.
///
/// # Panics
/// When GOLDCREST_REQUIRE is set.
pub fn skip(why: &str) {
    assert!(env::var_os("GOLDCREST_REQUIRE").is_none(), "must run here, but {why}");
    report(&format!("skipped: {why}"));
}
