/// Lists at most `most` names: `a, b and 3 more`, or `none`.
pub(crate) fn listed(names: &[impl AsRef<str>], most: usize) -> String {
    let shown: Vec<&str> = names.iter().take(most).map(AsRef::as_ref).collect();
    match names.len() - shown.len() {
        _ if names.is_empty() => "none".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn few_names_are_all_shown() {
        let list = |count: usize| listed(&["a", "b", "c", "d"][..count], 2);
        assert_eq!([0, 1, 2, 3, 4].map(list), ["none", "a", "a, b", "a, b and 1 more", "a, b and 2 more"]);
    }
}
