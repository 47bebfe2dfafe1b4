//! The step before fine-tuning on pairs: a sentence encoder learns to compare two texts.

use super::error::RunError;
use super::progress::{Progress, Watch};
use super::step::{fingerprint, fit, json, once, remove_files, save};
use super::{Compare, Recipe, base, prepare::Prepared};
use crate::bert::{Checkpoint, Classifier};
use crate::data::{self, Dataset, Example, Source, Task, Text};
use crate::metrics::Metric;
use crate::pretrain;
use crate::train::{Criterion, Encoded, Supervised, TrainOptions};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Minimum number of texts for this step.
const LEAST: usize = 100;
/// Pairs made per text, and the minimum and maximum number of pairs overall.
const PER_TEXT: usize = 4;
const PAIRS: [usize; 2] = [8_000, 40_000];
/// Number of pairs held out to measure how well it compares.
const HELD_OUT: usize = 500;

/// Pairs that were made of the training texts.
pub(super) struct Compares {
    /// Checkpoint folder of the base that learned to compare from them, if it had to.
    pub learned: Option<PathBuf>,
    /// Their file. Students learn from them too.
    pub pairs: PathBuf,
}

/// Teaches the base to compare, on pairs of the training texts, if recipe and base call for it.
///
/// If the base can already compare, only the pairs are made, and only if there are students.
pub(super) fn learn_to_compare(
    recipe: &Recipe,
    base: &Checkpoint,
    prepared: &Prepared,
    watch: Watch,
) -> Result<Option<Compares>, RunError> {
    let Some(pooling) = base.sentence_pooling().filter(|_| recipe.base.compare == Compare::Auto) else {
        return Ok(None);
    };
    // a model that can only teach is large: these pairs would take far longer than those with labels
    if !prepared.train.is_paired() || base.has_head() || base.config.only_teaches() {
        return Ok(None);
    }
    let can_already = base.config.compares_pairs;
    if can_already && recipe.distill.is_none() {
        return Ok(None);
    }
    let texts = texts(prepared);
    if texts.len() < LEAST {
        return Ok(None);
    }
    let count = (PER_TEXT * texts.len()).clamp(PAIRS[0], PAIRS[1]);
    let folder = recipe.output.join("compares");
    let options = TrainOptions {
        epochs: Some(1.0),
        learning_rate: Some(TrainOptions::default().learning_rate(&base.config)),
        layer_decay: 0.9,
        eval_every: Some(200),
        seed: recipe.train.seed,
        precision: recipe.train.precision,
        threads: recipe.train.threads,
        save_every: recipe.train.save_every,
        ..TrainOptions::default()
    };
    let max_tokens = prepared.input.max_tokens;
    let key = fingerprint(&[
        "compare",
        &base::digest(&recipe.base.checkpoint)?,
        &fingerprint(&texts.iter().map(String::as_str).collect::<Vec<_>>()),
        &json(&options.that_decide()),
        &format!("{pooling:?} {count} {max_tokens}"),
        &json(&recipe.base.pooler),
    ]);
    // the file name depends on the inputs, so that a resumed run does not compute the pairs again
    let file = folder.join(format!("pairs-{}.jsonl", &key[..8]));
    let made = file.exists();
    watch(Progress::Step { name: "make pairs", reused: made });
    if !made {
        watch(Progress::Note(&format!(
            "{count} pairs of {} texts, scored by the base, which reads each text separately (base.compare)",
            texts.len()
        )));
        let encoder = Classifier::new(base.clone(), 0)?;
        let mut ask = |done, all| watch(Progress::Classified { done, all });
        let pairs = pretrain::pairs(&encoder, pooling, texts, count, max_tokens, options.seed, &mut ask)?;
        std::fs::create_dir_all(&folder).map_err(RunError::io(&folder))?;
        save(&file, lines(&pairs).as_bytes())?;
        remove_files(&folder, |path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("pairs-") && name.ends_with(".jsonl") && path != file
        })?;
    }
    if can_already {
        return Ok(Some(Compares { learned: None, pairs: file }));
    }
    once("learn to compare", &folder, &key, watch, |watch| {
        let mut data = Dataset::read_to_measure(&[Source::new(&file)], Some(Task::Regression), None)?;
        let held_out = data.examples.split_off(data.len().saturating_sub(HELD_OUT));
        let dev = Dataset { examples: held_out, ..data.clone() };
        let mut learner = base.clone();
        if recipe.base.pooler.passes_through(&learner) {
            watch(Progress::Note("the pooler passes [CLS] through (base.pooler)"));
            learner.pass_through_pooler();
        }
        learner.config.set_labels(&["score".to_owned()], Task::Regression);
        learner.config.compares_pairs = true;
        let mut learner = Classifier::new(learner, options.seed)?;
        let encode = |data| Encoded::new(data, learner.tokenizer(), max_tokens);
        let (train, dev) = (encode(data)?, encode(dev)?);
        let criterion = Criterion { metric: Metric::Pearson, thresholds: false };
        let objective = Supervised::new(&train.data, &options)?;
        fit(&mut learner, [&train, &dev], criterion, &options, &objective, &folder, &key, watch)
    })?;
    Ok(Some(Compares { learned: Some(folder), pairs: file }))
}

/// Loads a base that learned to compare, without the head used for that.
pub(super) fn without_comparison(folder: &Path) -> Result<Checkpoint, RunError> {
    let mut base = Checkpoint::load(folder)?;
    base.drop_head();
    Ok(base)
}

impl Compares {
    /// Returns the pairs, from which students learn too.
    pub fn unlabelled(&self) -> Result<Vec<Text>, RunError> {
        Ok(data::unlabelled(&self.pairs, true, &Source::new(&self.pairs))?)
    }
}

/// Formats pairs as JSON Lines.
fn lines(data: &Dataset) -> String {
    let line = |example: &Example| {
        let Example { text, pair, target, .. } = example;
        serde_json::json!({ "text_a": text, "text_b": pair, "score": target.numbers()[0] }).to_string() + "\n"
    };
    data.examples.iter().map(line).collect()
}

/// Returns the distinct training texts, including both texts of pairs.
fn texts(prepared: &Prepared) -> Vec<String> {
    let mut seen = HashSet::new();
    let both = |example: &Example| [Some(example.text.clone()), example.pair.clone()];
    let texts = prepared.train.examples.iter().flat_map(both).flatten();
    texts.filter(|text| seen.insert(text.clone())).collect()
}
