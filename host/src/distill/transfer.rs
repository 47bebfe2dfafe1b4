use super::pieces::joined;
use crate::bert::ops::{nearest, unit_rows};
use crate::bert::{Checkpoint, WORD_EMBEDDINGS};
use crate::data::{Dataset, Example, SplitMix, Target, Task, Text};
use crate::train::Encoded;
use goldcrest_edge::tokenizer::capacity;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The transfer set: texts with gold labels first, then others, which only the teachers label.
#[derive(Debug, Clone)]
pub struct TransferSet {
    /// All texts. The target of a text without a gold label is meaningless.
    pub data: Arc<Dataset>,
    /// Number of texts with a gold label.
    pub gold: usize,
    /// Number of original texts, labelled or not; the rest are augmented.
    pub given: usize,
}

/// How much to augment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Augment {
    /// Texts with replaced words, per training text.
    pub replaced: f64,
    /// Texts joined from two, per training text.
    pub spliced: f64,
    /// Texts mixed from passages of up to three, per training text.
    pub mixed: f64,
    /// Random seed.
    pub seed: u64,
}

/// Number of words that can replace a word.
const NEIGHBOURS: usize = 8;
/// Minimum cosine similarity of a replacement.
const SIMILAR: f32 = 0.35;
/// Shares of words to replace; one is drawn for each text.
const SHARES: [f64; 3] = [0.15, 0.3, 0.45];
/// Share of those words that are deleted instead.
const DELETED: f64 = 0.2;
/// Maximum number of texts that a mixed one is taken from.
const MIXED: usize = 3;
/// Length of a passage in word pieces: from, below.
const PASSAGE: [usize; 2] = [4, 20];
/// Mixed texts are not continued from this length in word pieces on.
const MIXED_PIECES: usize = 64;
/// Separators of two joined texts; words are used only if the vocabulary has them.
const SEPARATORS: [&str; 7] = ["", ",", ".", "-", "and", "but", "while"];

impl TransferSet {
    /// Combines training data, unlabelled texts, and augmented training texts.
    ///
    /// Words are replaced by words with similar embeddings in `teacher` (after Jiao et al., arXiv 1909.10351,
    /// section 3.2, without the masked language model). Duplicates are dropped, except among the training
    /// texts. So are the texts in `held_out_keys`, by [`Example::texts`]: evaluation texts must not be learned
    /// from, not even without their labels.
    ///
    /// # Errors
    /// If the teacher's vocabulary does not make a tokenizer.
    pub fn new(
        train: &Arc<Dataset>,
        unlabelled: Vec<Text>,
        held_out_keys: &HashSet<String>,
        teacher: &Checkpoint,
        augment: Augment,
    ) -> Result<Self, crate::train::Error> {
        let mut data = Dataset::clone(train);
        let mut seen: HashSet<String> = train.examples.iter().map(Example::key).collect();
        let nothing = match train.task {
            Task::SingleLabel => Target::Class(0),
            Task::MultiLabel => Target::Classes(Vec::new()),
            Task::Regression => Target::Numbers(vec![0.0; train.width()]),
        };
        let mut add = |data: &mut Dataset, text: String, pair: Option<String>| {
            let example = Example { text, pair, target: nothing.clone(), file: 0, line: 0 };
            if !held_out_keys.contains(&example.texts()) && seen.insert(example.key()) {
                data.examples.push(example);
            }
        };
        for (text, pair) in unlabelled {
            add(&mut data, text, pair);
        }
        let given = data.len();
        let gold = train.len();
        if augment.replaced + augment.spliced + augment.mixed == 0.0 {
            return Ok(Self { data: data.into(), gold, given });
        }
        let words = Words::of(train, teacher)?;
        // takes longer than all the rest
        let near = if augment.replaced > 0.0 { words.neighbours(teacher) } else { HashMap::new() };
        let mut random = SplitMix::new(augment.seed, 1);
        let count = |share: f64| (share * gold as f64).round() as usize;
        for row in spread(count(augment.replaced), gold) {
            let [text, pair] = &words.texts[row];
            let text = replace(text, &near, &words, &mut random);
            let pair = train.is_paired().then(|| replace(pair, &near, &words, &mut random));
            if !text.is_empty() && pair.as_ref().is_none_or(|p| !p.is_empty()) {
                add(&mut data, text, pair);
            }
        }
        let between: Vec<&str> =
            SEPARATORS.into_iter().filter(|w| w.is_empty() || words.ids.contains_key(*w)).collect();
        let draws = if train.is_paired() { 0 } else { count(augment.spliced) };
        for _ in 0..draws {
            let [a, b] =
                [random.below(gold), random.below(gold)].map(|i| joined(&words.texts[i][0], &words.pieces));
            add(&mut data, format!("{a} {} {b}", between[random.below(between.len())]), None);
        }
        let draws = if train.is_paired() { 0 } else { count(augment.mixed) };
        for _ in 0..draws {
            let text = words.mixed(&mut random);
            if !text.is_empty() {
                add(&mut data, text, None);
            }
        }
        Ok(Self { data: data.into(), gold, given })
    }
}

/// Returns so many of the rows: all of them as often as possible, then evenly spread ones, because files are
/// often sorted by label.
fn spread(count: usize, rows: usize) -> impl Iterator<Item = usize> {
    let (rounds, rest) = (count / rows, count % rows);
    (0..rounds).flat_map(move |_| 0..rows).chain((0..rest).map(move |i| i * rows / rest))
}

/// Texts as word pieces of the teacher's vocabulary.
struct Words<'a> {
    pieces: Vec<&'a str>,
    ids: HashMap<&'a str, u32>,
    /// Piece ids of each text and its pair, without special tokens.
    texts: Vec<[Vec<u32>; 2]>,
    /// Ids of the alphabetic whole words that occur, ascending.
    candidates: Vec<u32>,
}

impl<'a> Words<'a> {
    fn of(train: &Arc<Dataset>, teacher: &'a Checkpoint) -> Result<Self, crate::train::Error> {
        let pieces: Vec<&str> = teacher.tokenizer.pieces().collect();
        let ids: HashMap<&str, u32> = pieces.iter().copied().zip(0..).collect();
        let special: HashSet<u32> =
            ["[CLS]", "[SEP]", "[UNK]"].iter().filter_map(|s| ids.get(s)).copied().collect();
        let most = teacher.config.max_position_embeddings.min(capacity::MAX_TOKENS);
        let encoded = Encoded::new(train.clone(), &teacher.tokenizer, most)?;
        let texts: Vec<[Vec<u32>; 2]> = encoded
            .tokens
            .iter()
            .map(|t| {
                [0, 1].map(|side| {
                    let of_side =
                        t.ids.iter().zip(&t.type_ids).filter(|(id, s)| **s == side && !special.contains(*id));
                    of_side.map(|(id, _)| *id).collect()
                })
            })
            .collect();
        let occurring: HashSet<u32> = texts.iter().flatten().flatten().copied().collect();
        let mut candidates: Vec<u32> = occurring
            .into_iter()
            .filter(|id| {
                let piece = pieces[*id as usize];
                piece.chars().count() > 1 && piece.chars().all(char::is_alphabetic)
            })
            .collect();
        candidates.sort_unstable();
        Ok(Self { pieces, ids, texts, candidates })
    }

    /// Returns, for each candidate, its nearest candidates.
    fn neighbours(&self, teacher: &Checkpoint) -> HashMap<u32, Vec<u32>> {
        let table = &teacher.tensors[WORD_EMBEDDINGS];
        let width = table.shape[1];
        let row = |id: &u32| &table.data[*id as usize * width..][..width];
        let rows: Vec<f32> = self.candidates.iter().flat_map(row).copied().collect();
        let (unit, _) = unit_rows(&rows, self.candidates.len());
        let near = nearest(&unit, self.candidates.len(), NEIGHBOURS, SIMILAR).into_iter();
        let ids = |near: Vec<u32>| near.into_iter().map(|i| self.candidates[i as usize]).collect();
        self.candidates.iter().copied().zip(near.map(ids)).collect()
    }

    /// Mixes passages of a few texts, at least as many as texts, until it is as long as one of them.
    fn mixed(&self, random: &mut SplitMix) -> String {
        let from: Vec<&[u32]> =
            (0..=random.below(MIXED)).map(|_| &self.texts[random.below(self.texts.len())][0][..]).collect();
        let (length, mut passages, mut ids) = (from[0].len().min(MIXED_PIECES), 0, Vec::new());
        while ids.len() < length || passages < from.len() {
            passages += 1;
            let text = from[random.below(from.len())];
            let goes_on =
                |at: usize| text.get(at).is_some_and(|id| self.pieces[*id as usize].starts_with("##"));
            let (start, size) = (random.below(text.len().max(1)), random.below(PASSAGE[1] - PASSAGE[0]));
            let (mut start, mut end) = (start, (start + PASSAGE[0] + size).min(text.len()));
            // whole words only
            while start > 0 && goes_on(start) {
                start -= 1;
            }
            while goes_on(end) {
                end += 1;
            }
            ids.extend(&text[start..end]);
        }
        joined(&ids, &self.pieces)
    }
}

/// Replaces some whole words of a text and deletes some.
fn replace(ids: &[u32], near: &HashMap<u32, Vec<u32>>, words: &Words, random: &mut SplitMix) -> String {
    let share = SHARES[random.below(SHARES.len())];
    let mut out = Vec::with_capacity(ids.len());
    for (i, id) in ids.iter().enumerate() {
        let whole = ids.get(i + 1).is_none_or(|next| !words.pieces[*next as usize].starts_with("##"));
        match near.get(id).filter(|others| whole && !others.is_empty()) {
            Some(others) if random.chance(share) => {
                if !random.chance(DELETED) {
                    out.push(others[random.below(others.len())]);
                }
            }
            _ => out.push(*id),
        }
    }
    joined(&out, &words.pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_of_the_rows_is_spread_over_all() {
        let rows = |count| spread(count, 6).collect::<Vec<_>>();
        assert_eq!(rows(3), [0, 2, 4]);
        assert_eq!(rows(8), [0, 1, 2, 3, 4, 5, 0, 3]);
        assert_eq!(rows(12).len(), 12);
    }
}
