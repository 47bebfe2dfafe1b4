//! Names of bundles.

use std::path::Path;

/// What [`is_bundle_name`] accepts.
pub const BUNDLE_NAME: &str =
    "has to be letters, digits, `-`, `_` and `.`, and to start with a letter, a digit or `_`";

/// Returns whether this can be the name of a bundle, which is also part of file names.
pub fn is_bundle_name(name: &str) -> bool {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(valid)
}

/// Returns a valid bundle name made from a file's name.
pub(super) fn bundle_name(data: &Path) -> String {
    const LONGEST: usize = 100;
    let stem = data.file_stem().unwrap_or_default().to_string_lossy();
    let valid = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = stem.chars().map(valid).take(LONGEST).collect();
    match name.trim_start_matches(['-', '.']) {
        "" => "bundle".into(),
        name => name.into(),
    }
}

/// Returns the name of a folder for what is made of a file of texts: that of the bundle, or the file's own if letters of
/// it cannot be part of the bundle's.
pub(super) fn folder_name(data: &Path) -> String {
    let stem = data.file_stem().unwrap_or_default().to_string_lossy();
    let loses_letters = stem.chars().any(|c| c.is_alphanumeric() && !c.is_ascii());
    let usable = !stem.starts_with(['-', '.']) && !stem.contains(char::is_control);
    if loses_letters && usable { stem.into_owned() } else { bundle_name(data) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_has_a_name() {
        let named = ["отзывы.csv", "(final) é.csv", ".hidden.csv", "a.b.csv", "-x"]
            .map(|file| bundle_name(Path::new(file)));
        assert_eq!(named, ["bundle", "final---", "hidden", "a.b", "x"]);
        let folders = ["отзывы.csv", "день 1.csv", "日本.tsv", "---.csv", "a.csv"]
            .map(|file| folder_name(Path::new(file)));
        assert_eq!(folders, ["отзывы", "день 1", "日本", "bundle", "a"]);
    }
}
