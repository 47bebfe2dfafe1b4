//! Logistic regression on n-grams: a teacher that knows nothing of any language in advance.
//!
//! A base that has never read a language learns its words badly from few texts. On them, counting n-grams is
//! better, and what it finds can be taught to the base with any number of augmented texts.

mod fit;
mod terms;

use super::pieces::joined;
use crate::bert::TokenizerFiles;
use crate::train::{Encoded, Objective, Supervised, TargetScale};
use fit::{Sparse, add_product, fit};
use rayon::prelude::*;
use terms::{Kind, Terms};

/// Maximum number of weights for each kind of n-gram; the rarest are left out.
const MOST: usize = 16_000_000;

/// A linear model of the words, pairs of words, and parts of words in a text, weighted by TF-IDF. It reads
/// what a network with the same tokenizer can tell apart.
pub struct NgramModel<'a> {
    files: &'a TokenizerFiles,
    terms: [Terms; 2],
    /// [terms and one constant, labels]
    weights: Vec<f32>,
    labels: usize,
    target_scale: TargetScale,
}

impl<'a> NgramModel<'a> {
    /// Learns the labels of texts, which were tokenized with `files`. `watch` is called with the numbers of steps
    /// done and in all.
    pub fn fit(
        texts: &Encoded,
        files: &'a TokenizerFiles,
        objective: &Supervised,
        watch: &mut dyn FnMut(usize, usize),
    ) -> Self {
        let strings = strings(texts, files);
        let labels = texts.data.width();
        let terms = [Kind::Words, Kind::Characters].map(|kind| Terms::of(kind, &strings, MOST / labels));
        let rows = strings.into_par_iter().map(|text| row(&terms, &text)).collect();
        let features = Sparse::of_rows(rows, terms.iter().map(Terms::len).sum::<usize>() + 1);
        let weights = fit(&features, &texts.data, labels, objective, watch);
        Self { files, terms, weights, labels, target_scale: objective.target_scale() }
    }

    /// Returns the logits of texts, which were tokenized with the same files: [texts, labels]. For a
    /// regression, its numbers.
    pub fn logits(&self, texts: &Encoded) -> Vec<f32> {
        let pieces: Vec<&str> = self.files.pieces().collect();
        let mut logits = vec![0.0; texts.tokens.len() * self.labels];
        // text by text: the features of all together would take gigabytes
        logits.par_chunks_exact_mut(self.labels).zip(&texts.tokens).for_each(|(logits, tokens)| {
            add_product(&row(&self.terms, &joined(&tokens.ids, &pieces)), &self.weights, logits);
            self.target_scale.restore(logits);
        });
        logits
    }
}

/// Returns the texts as the tokenizer normalizes and truncates them.
fn strings(texts: &Encoded, files: &TokenizerFiles) -> Vec<String> {
    let pieces: Vec<&str> = files.pieces().collect();
    texts.tokens.par_iter().map(|tokens| joined(&tokens.ids, &pieces)).collect()
}

/// Returns the features of a text: those of all kinds, then a constant.
fn row(terms: &[Terms; 2], text: &str) -> Vec<(u32, f32)> {
    let (mut row, mut first) = (Vec::new(), 0);
    for terms in terms {
        row.extend(terms.weights(text).into_iter().map(|(term, weight)| (first + term, weight)));
        first += terms.len() as u32;
    }
    row.push((first, 1.0));
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Example, Labels, Target, Task};
    use crate::train::TrainOptions;

    /// The logits for `new` of a model of these texts.
    fn answers(task: Task, texts: &[(&str, Target)], new: &str) -> Vec<f32> {
        let files = TokenizerFiles {
            vocab: "[PAD]\n[UNK]\n[CLS]\n[SEP]\nrot\nwarm\nkalt\nlau\n##er\n".into(),
            lowercase: true,
            strip_accents: None,
            chinese_chars: true,
            max_length: 16,
        };
        let encoded = |texts: &[(&str, Target)]| {
            let example = |(text, target): &(&str, Target)| Example::new(*text, target.clone());
            let labels = match task {
                Task::Regression => Labels::default(),
                _ => Labels::ordered(vec!["no".into(), "yes".into()]).unwrap(),
            };
            let examples = texts.iter().map(example).collect();
            Encoded::new(Dataset { task, labels, examples, files: vec![] }, &files, 16).unwrap()
        };
        let texts = encoded(texts);
        let objective = Supervised::new(&texts.data, &TrainOptions::default()).unwrap();
        NgramModel::fit(&texts, &files, &objective, &mut |_, _| ())
            .logits(&encoded(&[(new, Target::Class(0))]))
    }

    #[test]
    fn both_kinds_have_columns_of_their_own() {
        let texts = ["ab c".to_string(), "c".to_string()];
        let terms = [Kind::Words, Kind::Characters].map(|kind| Terms::of(kind, &texts, 100));
        let all = (terms[0].len() + terms[1].len()) as u32;
        let columns: Vec<u32> = row(&terms, "ab c").into_iter().map(|(column, _)| column).collect();
        assert_eq!(columns, (0..=all).collect::<Vec<_>>());
        assert_eq!(row(&terms, "?"), [(all, 1.0)]);
    }

    #[test]
    fn every_task_is_learned() {
        let classes =
            [("Rot Warm", Target::Class(1)), ("rot kalter", Target::Class(0)), ("warm", Target::Class(1))];
        let [no, yes] = answers(Task::SingleLabel, &classes, "kalter kalt")[..] else { panic!() };
        assert!(no > yes + 0.5, "{no} {yes}");
        let sets = [
            ("rot warm", Target::Classes(vec![0, 1])),
            ("rot kalt", Target::Classes(vec![0])),
            ("lau", Target::Classes(vec![])),
        ];
        let [red, warm] = answers(Task::MultiLabel, &sets, "rot rot")[..] else { panic!() };
        assert!(red > 0.0 && warm < red, "{red} {warm}");
        let numbers = [
            ("rot warm", Target::number(3000.0)),
            ("lau", Target::number(1000.0)),
            ("kalt", Target::number(-1000.0)),
        ];
        let [warm] = answers(Task::Regression, &numbers, "warm")[..] else { panic!() };
        let [cold] = answers(Task::Regression, &numbers, "kalt")[..] else { panic!() };
        assert!(warm > 1800.0 && cold < -800.0, "{warm} {cold}");
    }
}
