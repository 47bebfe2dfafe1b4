//! Names of bundles.

use std::path::Path;

/// Returns a valid bundle name made from a file's name.
pub(super) fn bundle_name(data: &Path) -> String {
    const LONGEST: usize = 100;
    let stem = data.file_stem().unwrap_or_default().to_string_lossy();
    let valid = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = stem.chars().map(valid).take(LONGEST).collect();
    match name.trim_start_matches(['-', '.']) {
        "" => "bundle".into(),
        name => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_has_a_name() {
        let named = ["отзывы.csv", "(final) é.csv", ".hidden.csv", "a.b.csv", "-x"]
            .map(|file| bundle_name(Path::new(file)));
        assert_eq!(named, ["bundle", "final---", "hidden", "a.b", "x"]);
    }
}
