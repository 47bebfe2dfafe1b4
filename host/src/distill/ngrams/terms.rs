use std::collections::HashMap;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Words, and pairs of successive words.
    Words,
    /// Parts of words of 2 to 5 characters; a word begins and ends with a space.
    Characters,
}

const CHARACTERS: std::ops::RangeInclusive<usize> = 2..=5;

/// The n-grams of some texts, numbered, and their inverse document frequencies.
pub(super) struct Terms {
    kind: Kind,
    ids: HashMap<String, u32>,
    idf: Vec<f32>,
}

impl Terms {
    /// Finds the n-grams of one kind; those in the fewest texts are left out if there are more than `most`.
    pub fn of(kind: Kind, texts: &[String], most: usize) -> Self {
        let (mut ids, mut frequency) = (HashMap::<String, u32>::new(), Vec::<u32>::new());
        for text in texts {
            let mut found = Vec::new();
            kind.each(text, |term| {
                let id = match ids.get(term) {
                    Some(id) => *id,
                    None => {
                        let id = ids.len() as u32;
                        ids.insert(term.to_owned(), id);
                        frequency.push(0);
                        id
                    }
                };
                found.push(id);
            });
            found.sort_unstable();
            found.dedup();
            found.into_iter().for_each(|id| frequency[id as usize] += 1);
        }
        let kept = |least: u32| frequency.iter().filter(|texts_with| **texts_with >= least).count();
        if let Some(least) = (1..).find(|least| kept(*least) <= most).filter(|least| *least > 1) {
            let mut numbers = 0..;
            let new: Vec<Option<u32>> = frequency
                .iter()
                .map(|texts_with| if *texts_with >= least { numbers.next() } else { None })
                .collect();
            ids.retain(|_, id| new[*id as usize].map(|new| *id = new).is_some());
            frequency.retain(|texts_with| *texts_with >= least);
        }
        let texts = texts.len() as f32;
        let idf =
            frequency.into_iter().map(|texts_with| ((1.0 + texts) / (1.0 + texts_with as f32)).ln() + 1.0);
        Self { kind, ids, idf: idf.collect() }
    }

    /// Returns the number of n-grams.
    pub fn len(&self) -> usize {
        self.idf.len()
    }

    /// Returns the known n-grams of a text, ascending, with weights: (1 + ln count) * idf, scaled to length 1.
    pub fn weights(&self, text: &str) -> Vec<(u32, f32)> {
        let mut found = Vec::new();
        self.kind.each(text, |term| found.extend(self.ids.get(term)));
        found.sort_unstable();
        let counted = found.chunk_by(|a, b| a == b);
        let mut weights: Vec<(u32, f32)> = counted
            .map(|same| (same[0], (1.0 + (same.len() as f32).ln()) * self.idf[same[0] as usize]))
            .collect();
        let length = weights.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        weights.iter_mut().for_each(|(_, weight)| *weight /= length);
        weights
    }
}

impl Kind {
    /// Calls `each` with every n-gram of a text, as often as it occurs.
    fn each(self, text: &str, mut each: impl FnMut(&str)) {
        let mut term = String::new();
        match self {
            Kind::Words => {
                let mut before = None;
                for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                    each(word);
                    if let Some(before) = before {
                        term.clear();
                        term.extend([before, " ", word]);
                        each(&term);
                    }
                    before = Some(word);
                }
            }
            Kind::Characters => {
                for word in text.split_whitespace() {
                    term.clear();
                    term.extend([" ", word, " "]);
                    let bounds: Vec<usize> =
                        term.char_indices().map(|(at, _)| at).chain([term.len()]).collect();
                    for length in CHARACTERS {
                        bounds.windows(length + 1).for_each(|at| each(&term[at[0]..at[length]]));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(kind: Kind, text: &str) -> Vec<String> {
        let mut terms = Vec::new();
        kind.each(text, |term| terms.push(term.to_owned()));
        terms
    }

    #[test]
    fn words_and_their_parts_are_found() {
        assert_eq!(all(Kind::Words, "so, so gut"), ["so", "so", "so so", "gut", "so gut"]);
        assert_eq!(all(Kind::Characters, " zü"), [" z", "zü", "ü ", " zü", "zü ", " zü "]);
        assert!(all(Kind::Words, " ...").is_empty() && all(Kind::Characters, " ").is_empty());
    }

    #[test]
    fn weights_follow_the_formula() {
        let texts = ["a b".to_string(), "a c".to_string(), "a".to_string()];
        let terms = Terms::of(Kind::Words, &texts, 5);
        assert_eq!(terms.len(), 5, "a, b, a b, c, a c");
        // "a" is in all three texts: idf 1; "c" is in one: ln 2 + 1
        let (a, c) = ((1.0 + 2f32.ln()) * 1.0, 2f32.ln() + 1.0);
        let length = (a * a + c * c).sqrt();
        // "a ? a" has neither of the pairs
        let found = terms.weights("a x a y c x");
        assert_eq!(found.iter().map(|(term, _)| *term).collect::<Vec<_>>(), [0, 3]);
        assert!(found.iter().zip([a, c]).all(|((_, w), is)| (w - is / length).abs() < 1e-6), "{found:?}");
        assert_eq!(terms.weights("unknown"), []);
        // only "a" is in more than one text
        let terms = Terms::of(Kind::Words, &texts, 4);
        assert_eq!((terms.len(), terms.weights("b a")), (1, vec![(0, 1.0)]));
        // both are in one of two texts, however often
        let terms = Terms::of(Kind::Words, &["a x a".to_string(), "b".to_string()], 9);
        let [(_, a), (_, b)] = terms.weights("b a")[..] else { panic!() };
        assert_eq!(a, b);
    }
}
