//! What the names of columns tell.

/// Column names that mean a single text, the two texts of a pair, or a label; compared ignoring case.
const TEXT: [&str; 7] = ["text", "sentence", "utterance", "message", "query", "review", "phrase"];
const PAIR: [(&str, &str); 8] = [
    ("question", "sentence"),
    ("question", "answer"),
    ("question", "passage"),
    ("question", "context"),
    ("premise", "hypothesis"),
    ("query", "document"),
    ("claim", "evidence"),
    ("context", "response"),
];
/// Names that mean a pair where no column is named like a text: alone they mean other things.
const PAIR_FALLBACK: (&str, &str) = ("source", "translation");
/// Stems of numbered column names that mean a pair.
const NUMBERED: [&str; 3] = ["text", "sentence", "question"];
const LABEL: [&str; 7] = ["label", "labels", "score", "intent", "class", "category", "sentiment"];

/// Fallback names, used where none of the above occurs. After these come names that end in one of the words
/// above, such as `comment_text` and `reviewText`; for labels also those that begin with `is`.
const TEXT_FALLBACK: [&str; 16] = [
    "content",
    "comment",
    "tweet",
    "body",
    "post",
    "sms",
    "excerpt",
    "essay",
    "utt",
    "description",
    "nachricht",
    "beschreibung",
    "kommentar",
    "texto",
    "texte",
    "mensaje",
];
const LABEL_FALLBACK: [&str; 16] = [
    "target",
    "emotion",
    "polarity",
    "stance",
    "topic",
    "type",
    "tag",
    "tags",
    "rating",
    "stars",
    "kategorie",
    "klasse",
    "thema",
    "categoria",
    "categoría",
    "catégorie",
];
/// Names that mean a label where no other column is left: often they are those of a column beside the label.
const LABEL_WEAK: [&str; 9] =
    [VERDICT, "gold", "genre", "language", "lang", "categories", "topics", "priority", "department"];
/// The name of a label where another column is left beside a pair too, such as the page of a claim.
const VERDICT: &str = "verdict";
/// Names of texts that usually accompany a main text.
const TITLE: [&str; 2] = ["title", "headline"];

/// Names of columns that are neither text nor label.
const ID: [&str; 4] = ["id", "idx", "index", "qid"];

/// The name of a label column that means regression.
pub(super) const SCORE: &str = "score";
/// The name of a label column that may hold several labels.
pub(super) const LABELS: &str = "labels";

pub(super) fn same(a: &str, b: &str) -> bool {
    a.trim().eq_ignore_ascii_case(b)
}

/// Returns whether this is a known column name.
pub(super) fn is_known(name: &str) -> bool {
    let name = name.trim().trim_matches('"');
    TEXT.iter().chain(&LABEL).any(|known| same(name, known))
        || PAIR.iter().any(|(a, b)| same(name, a) || same(name, b))
        || numbered(name).is_some_and(|(stem, _)| NUMBERED.contains(&&*stem))
}

/// Splits a name that ends in 1, 2, a or b into its lower-case stem and that last character.
fn numbered(name: &str) -> Option<(String, char)> {
    let name = name.trim().trim_matches('"').to_lowercase();
    let end = name.chars().last().filter(|end| "12ab".contains(*end))?;
    let stem = name[..name.len() - 1].trim_end_matches(|c: char| !c.is_alphanumeric());
    Some((stem.to_owned(), end))
}

/// Splits a name into lower-case words, at capitals and anything not alphanumeric.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.trim().chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("never empty").extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns the words of a name; empty if there are so many that it may be a sentence.
fn few_words(name: &str) -> Vec<String> {
    const MOST: usize = 3;
    Some(words(name)).filter(|words| words.len() <= MOST).unwrap_or_default()
}

/// Returns the last word of a name, in lower case.
pub(super) fn last_word(name: &str) -> String {
    words(name).pop().unwrap_or_default()
}

/// Returns whether a name of several words means a text.
fn text_by_words(name: &str) -> bool {
    let words = few_words(name);
    words.len() > 1 && words.last().is_some_and(|word| TEXT.contains(&&**word))
}

/// Returns whether a name of several words means a label.
fn label_by_words(name: &str) -> bool {
    match &few_words(name)[..] {
        [first, .., last] => first == "is" || LABEL.contains(&&**last),
        _ => false,
    }
}

/// Returns whether a name of several words means a label where nothing else does, such as `Overall Rating`.
fn weak_label_by_words(name: &str) -> bool {
    let words = few_words(name);
    words.len() > 1 && words.last().is_some_and(|word| LABEL_FALLBACK.contains(&&**word))
}

/// Returns the column of that name, or else the only one that matches ignoring case.
pub(super) fn by_name<N: AsRef<str>>(names: &[N], name: &str) -> Option<usize> {
    let name = name.trim();
    let exact = names.iter().position(|other| other.as_ref().trim() == name);
    exact.or_else(|| {
        let small = name.to_lowercase();
        let mut alike = (0..names.len()).filter(|i| names[*i].as_ref().trim().to_lowercase() == small);
        alike.next().filter(|_| alike.next().is_none())
    })
}

/// Returns whether a first row's names make it a header: one unmistakable name, or two possible ones.
pub(super) fn is_header<'a>(fields: impl Iterator<Item = &'a str> + Clone) -> bool {
    let is_possible = |name: &str| {
        TEXT_FALLBACK.iter().chain(&LABEL_FALLBACK).chain(&TITLE).chain(&ID).any(|known| same(name, known))
            || text_by_words(name)
            || label_by_words(name)
            || weak_label_by_words(name)
    };
    // there must be room for a label beside the texts of a pair
    let names: Vec<&str> = fields.clone().collect();
    let paired = || names.len() > 2 && pairs(&names).iter().any(|(a, _)| names[*a].trim().len() > 1);
    fields.clone().any(is_known) || fields.filter(|name| is_possible(name)).count() > 1 || paired()
}

/// Returns the columns that form pairs, by their names; if some pairs have common names, only those.
pub(super) fn pairs(names: &[&str]) -> Vec<(usize, usize)> {
    /// Each column is compared with every other; of more, none is a text of a pair.
    const MOST: usize = 500;
    if names.len() > MOST {
        return Vec::new();
    }
    let ends: Vec<Option<(String, char)>> = names.iter().map(|name| numbered(name)).collect();
    let is_pair = |a: usize, b: usize| match (&ends[a], &ends[b]) {
        (Some((a, '1')), Some((b, '2'))) => a == b && !is_id(a),
        (Some((a, 'a')), Some((b, 'b'))) => a == b && (a.is_empty() || !is_id(a)),
        _ => PAIR.iter().any(|(first, second)| same(names[a], first) && same(names[b], second)),
    };
    let may =
        |i: &usize| ends[*i].is_some() || PAIR.iter().any(|(a, b)| same(names[*i], a) || same(names[*i], b));
    let columns: Vec<usize> = (0..names.len()).filter(may).collect();
    let all = columns.iter().flat_map(|a| columns.iter().map(move |b| (*a, *b)));
    let all: Vec<(usize, usize)> = all.filter(|(a, b)| is_pair(*a, *b)).collect();
    let usual: Vec<_> = all.iter().copied().filter(|(a, _)| is_known(names[*a])).collect();
    if all.is_empty() && texts(names).is_empty() {
        let named = |name: &str| names.iter().position(|other| same(other, name));
        return named(PAIR_FALLBACK.0).zip(named(PAIR_FALLBACK.1)).into_iter().collect();
    }
    match usual.is_empty() {
        // beside a text, numbered columns are something else, such as two labels
        true if texts(names).iter().any(|text| all.iter().all(|(a, b)| a != text && b != text)) => Vec::new(),
        true => all,
        false => usual,
    }
}

/// Returns the columns that could be the text, by their names.
pub(super) fn texts(names: &[&str]) -> Vec<usize> {
    known_first(names, [&TEXT, &TEXT_FALLBACK], text_by_words)
}

/// Returns the columns that are named like titles, which can be the text where nothing else is.
pub(super) fn titles(names: &[&str]) -> Vec<usize> {
    known(names, &TITLE)
}

/// Returns the columns that could be the first text of a pair whose second has an unknown name.
pub(super) fn first_of_pair(names: &[&str]) -> Vec<usize> {
    let first =
        |name: &str| TEXT.iter().chain(PAIR.iter().map(|(first, _)| first)).any(|known| same(name, known));
    (0..names.len()).filter(|index| first(names[*index])).collect()
}

/// Returns the columns that could be the label, by their names.
pub(super) fn labels(names: &[&str]) -> Vec<usize> {
    let labels = known_first(names, [&LABEL, &LABEL_FALLBACK], label_by_words);
    match (known(names, &TEXT).as_slice(), pairs(names).as_slice()) {
        _ if !labels.is_empty() => labels,
        (&[text], _) if names.len() == 2 => the_other(names, text).into_iter().collect(),
        (_, &[(a, b)]) => {
            let mut rest: Vec<usize> = (0..names.len()).filter(|i| *i != a && *i != b).collect();
            if rest.len() > 1 {
                rest.retain(|i| !is_id(names[*i]));
            }
            rest.retain(|i| texts(&[names[*i]]).is_empty());
            if rest.len() > 1 {
                rest.retain(|i| same(names[*i], VERDICT));
            }
            if rest.len() == 1 { rest } else { labels }
        }
        _ => weak_label(names),
    }
}

/// Returns the column that is left beside a text, if its name can mean a label.
fn weak_label(names: &[&str]) -> Vec<usize> {
    let weak = |name: &str| LABEL_WEAK.iter().any(|known| same(name, known)) || weak_label_by_words(name);
    left_over(names).filter(|index| weak(names[*index])).into_iter().collect()
}

/// Returns what is left beside one text and ids, if that is a single column.
pub(super) fn left_over(names: &[&str]) -> Option<usize> {
    let &[text] = &texts(names)[..] else { return None };
    let other =
        |i: &usize| *i != text && !is_id(names[*i]) && !TITLE.iter().any(|title| same(names[*i], title));
    let mut rest = (0..names.len()).filter(other);
    rest.next().filter(|_| rest.next().is_none())
}

/// Of two named columns, returns the one that is not `index`.
pub(super) fn the_other(names: &[&str], index: usize) -> Option<usize> {
    let other = 1usize.checked_sub(index).filter(|_| names.len() == 2)?;
    let nothing = names[other].trim().is_empty() || ID.iter().any(|id| same(names[other], id));
    (!nothing).then_some(other)
}

/// Returns whether a column is an id.
pub(super) fn is_id(name: &str) -> bool {
    let id = |name: &str| {
        let ends = [" id", "_id", "-id"].iter().any(|end| name.to_lowercase().ends_with(end));
        name.trim().is_empty() || ends || ID.iter().any(|id| same(name, id))
    };
    id(name) || numbered(name).is_some_and(|(stem, _)| !stem.is_empty() && id(&stem))
}

/// Returns the columns in the first list that matches any of the names, or else those accepted by `by_words`.
fn known_first(names: &[&str], lists: [&[&str]; 2], by_words: impl Fn(&str) -> bool) -> Vec<usize> {
    let by_words = || (0..names.len()).filter(|index| by_words(names[*index])).collect();
    let found = lists.into_iter().map(|list| known(names, list)).find(|found| !found.is_empty());
    found.unwrap_or_else(by_words)
}

/// Returns the columns whose names are in a list.
fn known(names: &[&str], list: &[&str]) -> Vec<usize> {
    (0..names.len()).filter(|&index| list.iter().any(|known| same(names[index], known))).collect()
}
