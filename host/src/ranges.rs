//! Checks of ranges that types cannot express. The keys are those of a recipe.

/// An invalid key and what is wrong with it.
pub(crate) type Checked = Result<(), (&'static str, String)>;

/// Fails for `key` unless the condition holds.
pub(crate) fn ensure(holds: bool, key: &'static str, problem: impl ToString) -> Checked {
    if holds { Ok(()) } else { Err((key, problem.to_string())) }
}

/// Checks that a number is finite and in a range, which `problem` describes.
pub(crate) fn number(value: f64, holds: impl Fn(f64) -> bool, key: &'static str, problem: &str) -> Checked {
    ensure(value.is_finite() && holds(value), key, format_args!("is {value}; it has to be {problem}"))
}

pub(crate) fn positive(value: f64, key: &'static str) -> Checked {
    number(value, |value| value > 0.0, key, "above 0")
}

pub(crate) fn not_negative(value: f64, key: &'static str) -> Checked {
    number(value, |value| value >= 0.0, key, "0 or above")
}

pub(crate) fn share(value: f64, key: &'static str) -> Checked {
    number(value, |value| (0.0..=1.0).contains(&value), key, "0 to 1")
}

/// Checks that a share is less than the whole.
pub(crate) fn part(value: f64, key: &'static str) -> Checked {
    number(value, |value| (0.0..1.0).contains(&value), key, "0 or above, and below 1")
}

pub(crate) fn count(value: usize, key: &'static str) -> Checked {
    ensure(value > 0, key, "is 0; it has to be 1 or more")
}

pub(crate) fn optional_counts(counts: &[(Option<usize>, &'static str)]) -> Checked {
    counts.iter().try_for_each(|&(value, key)| value.map_or(Ok(()), |value| count(value, key)))
}

/// Most passes over the data: so many outlast any training.
pub(crate) const MOST_PASSES: f64 = 1e6;

pub(crate) fn passes(value: f64, key: &'static str) -> Checked {
    number(value, |value| value > 0.0 && value <= MOST_PASSES, key, "above 0, at most 1000000")
}
