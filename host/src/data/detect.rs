//! Detection of file formats and of the meaning of columns.

use super::rows::PREFIX;
use super::{Column, DataError, Format, LabelColumns, Source};
use std::collections::HashMap;

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

/// Returns the first line that is not blank, without leading space.
pub(super) fn first_line(content: &str) -> &str {
    content.lines().find(|line| !line.trim().is_empty()).unwrap_or("").trim_start()
}

/// Returns the given format, or detects it by the extension or the first line that is not blank.
pub(super) fn format(source: &Source, content: &str) -> Result<Format, DataError> {
    if source.format != Format::Auto {
        return Ok(source.format);
    }
    let first = first_line(content);
    let extension = source.path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    let ambiguous = |problem: String| DataError::Ambiguous {
        path: source.path.clone(),
        problem,
        options: vec!["format"],
    };
    Ok(match extension.to_ascii_lowercase().as_str() {
        "csv" => Format::Csv,
        "tsv" | "tab" => Format::Tsv,
        "jsonl" | "ndjson" => Format::Jsonl,
        _ if first.starts_with(PREFIX) => Format::FastText,
        _ if source.delimiter.is_some() => Format::Csv,
        _ if first.starts_with(['{', '[']) => Format::Jsonl,
        _ if first.split('\t').count() > 1 => {
            // A table has a header, more than two columns, its labels last, or options about columns.
            // Anything else is `label<TAB>text`, which is usually published without a header.
            let told = source.text.is_some() || source.label.is_some() || source.header.is_some();
            let named = first.split('\t').any(is_known);
            let columns = first.split('\t').count();
            let more = columns > 2
                && content.lines().take(MAX_INCONCLUSIVE).all(|line| line.split('\t').count() == columns);
            let label_last = || {
                let rows = content.lines().filter(|line| !line.trim().is_empty());
                let two = rows.map(|line| line.split_once('\t').filter(|(_, rest)| !rest.contains('\t')));
                let two = two.map(|row| row.map(|(a, b)| [a, b])).collect::<Option<Vec<_>>>();
                let found = two.and_then(|rows| by_values(&rows));
                found.is_some_and(|(columns, _)| columns.label == LabelColumns::One(1))
            };
            if told || named || more || label_last() { Format::Tsv } else { Format::Lines }
        }
        _ if first.split([',', ';']).any(is_known) => Format::Csv,
        _ => return Err(ambiguous("neither the extension nor the first line tells the format".to_owned())),
    })
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

/// Returns the columns that form pairs, by their names; if some pairs have common names, only those.
fn pairs(names: &[&str]) -> Vec<(usize, usize)> {
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
    let text = || known_first(names, [&TEXT, &TEXT_FALLBACK], text_by_words);
    match usual.is_empty() {
        // beside a text, numbered columns are something else, such as two labels
        true if text().iter().any(|text| all.iter().all(|(a, b)| a != text && b != text)) => Vec::new(),
        true => all,
        false => usual,
    }
}

/// Returns whether a first row's names make it a header: one unmistakable name, or two possible ones.
pub(super) fn is_header<'a>(fields: impl Iterator<Item = &'a str> + Clone) -> bool {
    let is_possible = |name: &str| {
        TEXT_FALLBACK.iter().chain(&LABEL_FALLBACK).chain(&TITLE).chain(&ID).any(|known| same(name, known))
            || text_by_words(name)
            || label_by_words(name)
    };
    // there must be room for a label beside the texts of a pair
    let names: Vec<&str> = fields.clone().collect();
    let paired = || names.len() > 2 && pairs(&names).iter().any(|(a, _)| names[*a].trim().len() > 1);
    fields.clone().any(is_known) || fields.filter(|name| is_possible(name)).count() > 1 || paired()
}

/// The columns of a table, as indices.
#[derive(Debug, PartialEq)]
pub(super) struct Columns {
    pub text: usize,
    pub pair: Option<usize>,
    pub label: LabelColumns<usize>,
}

/// Finds the columns that `source` names, and detects the others by `names`. A number is taken as a name if a
/// column has it. `binary` tells whether a column holds only 0 and 1; `missing` makes the error for a missing
/// column.
pub(super) fn columns(
    source: &Source,
    names: &[&str],
    binary: impl Fn(&usize) -> bool,
    missing: impl Fn(&Column) -> DataError,
) -> Result<Columns, DataError> {
    let find = |column: &Column| {
        let index = match column {
            Column::Position(position) => by_name(names, &position.to_string())
                .or_else(|| position.checked_sub(1).filter(|&index| index < names.len())),
            Column::Name(name) => by_name(names, name),
        };
        index.ok_or_else(|| missing(column))
    };
    let label = match (&source.label, &source.text) {
        _ if source.unlabelled => LabelColumns::Each(Vec::new()),
        (Some(LabelColumns::One(column)), _) => LabelColumns::One(find(column)?),
        (Some(LabelColumns::Each(columns)), _) => {
            LabelColumns::Each(columns.iter().map(find).collect::<Result<_, _>>()?)
        }
        (None, Some(text)) if names.len() == 2 && labels(names).is_empty() => {
            LabelColumns::One(1 - find(text)?)
        }
        (None, _) => LabelColumns::One(one_label(source, names, binary)?),
    };
    let is_label = |index: usize| label.columns().contains(&index);
    let (text, pair) = match (&source.text, &source.pair) {
        (Some(text), _) if is_label(find(text)?) => {
            let problem = "is the same column as `text`".to_owned();
            return Err(DataError::Option { path: source.path.clone(), option: "label", problem });
        }
        (Some(text), pair) => (find(text)?, pair.as_ref().map(find).transpose()?),
        (None, None) if names.len() == 2 && source.label.is_some() && label.columns().len() == 1 => {
            (1 - label.columns()[0], None)
        }
        (None, Some(pair)) => {
            let pair = find(pair)?;
            let mut candidates = known(names, &TEXT);
            candidates.extend(known(names, &PAIR.map(|(a, _)| a)));
            candidates.retain(|&index| index != pair && !is_label(index));
            candidates.sort_unstable();
            candidates.dedup();
            (one(source, names, "text", &candidates)?, Some(pair))
        }
        (None, None) => texts(source, names, label.columns())?,
    };
    Ok(Columns { text, pair, label })
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

/// Describes the columns that are not used; empty if there are none.
pub(super) fn unused(names: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 6;
    let names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(SHOWN);
    match &names[..names.len() - more] {
        [] => String::new(),
        shown => {
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("; not used: {}{more}", shown.join(", "))
        }
    }
}

/// Finds the columns of a two-column table without known names, and whether the first row names them, by the
/// values: labels are numbers or repeat often, texts do neither. `None` if unclear.
pub(super) fn by_values(rows: &[[&str; 2]]) -> Option<(Columns, bool)> {
    let ([first, rest @ ..], true) = (rows, rows.len() > MAX_INCONCLUSIVE) else { return None };
    let counts = [0, 1].map(|column| counts(rest.iter().map(|row| row[column])));
    let label = match counts.each_ref().map(|counts| counts.keys().all(|field| is_number(field))) {
        [true, false] => 0,
        [false, true] => 1,
        _ => usize::from(counts[1].len() < counts[0].len()),
    };
    let (labels, texts) = (&counts[label], &counts[1 - label]);
    let header = names_columns(first[1 - label], first[label], texts, labels)?;
    let numbers = labels.keys().all(|field| is_number(field));
    let repeats = labels.len() > 1 && labels.len() * 2 <= rest.len().min(texts.len());
    let fractions = numbers && labels.keys().any(|field| field.trim().parse::<i64>().is_err());
    let plain = texts.len() * 4 > rest.len() && (repeats || fractions);
    plain.then_some((Columns { text: 1 - label, pair: None, label: LabelColumns::One(label) }, header))
}

/// Returns whether the first row of texts and labels names the columns, judged by the other rows. `None` if
/// unclear.
pub(super) fn header_by_values(rows: &[[&str; 2]]) -> Option<bool> {
    let ([[text, label], rest @ ..], true) = (rows, rows.len() > MAX_INCONCLUSIVE) else { return None };
    names_columns(text, label, &counts(rest.iter().map(|row| row[0])), &counts(rest.iter().map(|row| row[1])))
}

/// Nothing is concluded from this many rows or fewer.
const MAX_INCONCLUSIVE: usize = 10;

/// Number of occurrences of each value.
type Counts<'a> = HashMap<&'a str, usize>;

fn counts<'a>(values: impl Iterator<Item = &'a str>) -> Counts<'a> {
    let mut counts = Counts::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    counts
}

fn is_number(field: &str) -> bool {
    field.trim().parse::<f64>().is_ok()
}

/// Returns whether `text` and `label` from the first row are column names rather than values. `None` if
/// unclear.
fn names_columns(text: &str, label: &str, texts: &Counts, labels: &Counts) -> Option<bool> {
    // columns numbered by pandas
    let numbers = [("0", "1"), ("1", "0"), ("1", "2"), ("2", "1")].contains(&(text.trim(), label.trim()));
    if numbers && !texts.keys().any(|text| is_number(text)) {
        return Some(true);
    }
    // a first row that could be a text with a unique label is not taken for a header
    let words = |field: &str| field.split_whitespace().count();
    let names = words(text) == 1 && texts.keys().filter(|text| words(text) > 1).count() * 2 > texts.len();
    match labels.keys().all(|field| is_number(field)) {
        true => Some(!is_number(label)),
        false if labels.contains_key(label) => Some(false),
        false if names && labels.values().all(|count| *count > 1) => Some(true),
        false => None,
    }
}

/// Finds the column of the text, or of both texts of a pair, by their names.
fn texts(source: &Source, names: &[&str], labels: &[usize]) -> Result<(usize, Option<usize>), DataError> {
    let mut pairs = pairs(names);
    pairs.retain(|(a, b)| !labels.contains(a) && !labels.contains(b));
    let in_pair = |index: &usize| pairs.iter().any(|(a, b)| a == index || b == index);
    let free = |index: &usize| !labels.contains(index) && !in_pair(index);
    let mut singles: Vec<usize> =
        known_first(names, [&TEXT, &TEXT_FALLBACK], text_by_words).into_iter().filter(free).collect();
    if singles.is_empty() {
        singles.extend(known(names, &TITLE).into_iter().filter(free));
    }
    if singles.is_empty() && pairs.is_empty() {
        singles.extend(labels.first().and_then(|label| the_other(names, *label)));
    }
    match (singles.as_slice(), pairs.as_slice()) {
        (&[], &[(a, b)]) => Ok((a, Some(b))),
        (singles, []) => Ok((one(source, names, "text", singles)?, None)),
        (singles, pairs) => {
            let mut all = singles.to_vec();
            all.extend(pairs.iter().flat_map(|&(a, b)| [a, b]));
            Ok((one(source, names, "text", &all)?, None))
        }
    }
}

/// Returns the columns that could be the label, by their names.
fn labels(names: &[&str]) -> Vec<usize> {
    let labels = known_first(names, [&LABEL, &LABEL_FALLBACK], label_by_words);
    match (known(names, &TEXT).as_slice(), pairs(names).as_slice()) {
        _ if !labels.is_empty() => labels,
        (&[text], _) if names.len() == 2 => the_other(names, text).into_iter().collect(),
        (_, &[(a, b)]) => {
            let mut rest: Vec<usize> = (0..names.len()).filter(|i| *i != a && *i != b).collect();
            if rest.len() > 1 {
                rest.retain(|i| !is_id(names[*i]));
            }
            rest.retain(|i| known_first(&[names[*i]], [&TEXT, &TEXT_FALLBACK], text_by_words).is_empty());
            if rest.len() == 1 { rest } else { labels }
        }
        _ => labels,
    }
}

/// Of two named columns, returns the one that is not `index`.
fn the_other(names: &[&str], index: usize) -> Option<usize> {
    let other = 1usize.checked_sub(index).filter(|_| names.len() == 2)?;
    let nothing = names[other].trim().is_empty() || ID.iter().any(|id| same(names[other], id));
    (!nothing).then_some(other)
}

/// Returns whether a column is an id.
fn is_id(name: &str) -> bool {
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

/// Returns the label column. If none is known but several hold 0 and 1, the error suggests those as labels.
fn one_label(source: &Source, names: &[&str], binary: impl Fn(&usize) -> bool) -> Result<usize, DataError> {
    let candidates = labels(names);
    let mut found = one(source, names, "label", &candidates);
    if let (Err(DataError::Ambiguous { problem, .. }), true) = (&mut found, candidates.is_empty()) {
        let columns = (0..names.len()).filter(|index| !is_id(names[*index]) && binary(index));
        let columns: Vec<String> = columns.map(|index| format!("`{}`", names[index].trim())).collect();
        if columns.len() > 1 {
            *problem += &format!("; {} hold 0 and 1: name all that are labels", columns.join(", "));
        }
    }
    found
}

fn one(
    source: &Source,
    names: &[&str],
    option: &'static str,
    candidates: &[usize],
) -> Result<usize, DataError> {
    let list = |indices: &mut dyn Iterator<Item = usize>| {
        indices.map(|index| format!("`{}`", names[index].trim())).collect::<Vec<_>>().join(", ")
    };
    let problem = match candidates {
        [index] => return Ok(*index),
        [] if names.iter().all(|name| name.is_empty()) => {
            format!("without a header the {option} has to be given by position, counted from 1")
        }
        [] => format!("no column is known to be the {option}, among {}", list(&mut (0..names.len()))),
        several => {
            format!("{} columns could be the {option}: {}", several.len(), list(&mut several.iter().copied()))
        }
    };
    Err(DataError::Ambiguous { path: source.path.clone(), problem, options: vec![option] })
}
