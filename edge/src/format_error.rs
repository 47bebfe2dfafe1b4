//! Formatting of errors for people.
use std::error::Error;

/// Formats an error and its causes. Leaves out a cause with which the text already ends, as
/// many errors quote theirs.
pub fn format_error(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text += ": ";
            text += &told;
        }
        cause = error.source();
    }
    text
}

#[cfg(all(test, feature = "runtime"))]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_cause_is_not_repeated() {
        let missing = crate::bundle::map(Path::new("nowhere.bundle")).unwrap_err();
        let reason = std::io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(format_error(&missing), format!("cannot open nowhere.bundle: {reason}"));
        let error = anyhow::Error::from(std::io::Error::other("no such file")).context("b.csv");
        assert_eq!(format_error(error.as_ref()), "b.csv: no such file");
    }
}
