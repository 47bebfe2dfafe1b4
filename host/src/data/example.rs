//! Labelled texts, and keys that tell which are the same.

/// A text, or a pair of texts.
pub type Text = (String, Option<String>);

/// The gold label, labels or numbers of an example.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The id of the one label.
    Class(u32),
    /// The ids of all labels, ascending, each once.
    Classes(Vec<u32>),
    /// The numbers of a regression: one, or as many as the dataset has labels.
    Numbers(Vec<f32>),
}

impl Target {
    /// Returns the target of a regression of one number.
    pub fn number(number: f32) -> Self {
        Target::Numbers(vec![number])
    }

    /// Returns the numbers of a regression; none for classes.
    pub fn numbers(&self) -> &[f32] {
        match self {
            Target::Numbers(numbers) => numbers,
            Target::Class(_) | Target::Classes(_) => &[],
        }
    }
}

/// One labelled text, or pair of texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The text as it appears in the file.
    pub text: String,
    /// The second text. Either all examples of a dataset have one, or none.
    pub pair: Option<String>,
    /// The gold label.
    pub target: Target,
    /// Index into [`Dataset::files`](super::Dataset::files).
    pub file: u32,
    /// Line in that file, counted from 1.
    pub line: u32,
}

impl Example {
    /// Returns an example of one text that comes from no file.
    pub fn new(text: impl Into<String>, target: Target) -> Self {
        Example { text: text.into(), pair: None, target, file: 0, line: 0 }
    }

    /// Returns an example whose target means nothing and that comes from no file.
    pub(crate) fn unlabelled((text, pair): Text) -> Self {
        Example { text, pair, target: Target::number(0.0), file: 0, line: 0 }
    }

    /// Returns a key that examples share if they are the same to a classifier: text and pair, ignoring case
    /// and repeated spaces.
    pub fn key(&self) -> String {
        key(&self.text, self.pair.as_deref())
    }

    /// Returns a key that examples share if they must be on the same side of a split: [`key`](Self::key),
    /// ignoring the order of the two texts of a pair.
    pub fn texts(&self) -> String {
        unordered_key(&self.text, self.pair.as_deref())
    }
}

fn key(text: &str, pair: Option<&str>) -> String {
    let mut key = String::with_capacity(text.len());
    for (index, text) in [Some(text), pair].into_iter().flatten().enumerate() {
        if index > 0 {
            key.push('\u{1f}');
        }
        for word in text.split_whitespace() {
            if !key.is_empty() && !key.ends_with('\u{1f}') {
                key.push(' ');
            }
            key.push_str(&word.to_lowercase());
        }
    }
    key
}

/// Returns the [`Example::texts`] of texts without a label.
pub(crate) fn unordered_key(text: &str, pair: Option<&str>) -> String {
    match pair {
        Some(pair) => key(text, Some(pair)).min(key(pair, Some(text))),
        None => key(text, None),
    }
}
