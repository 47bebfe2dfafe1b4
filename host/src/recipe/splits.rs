//! The train, dev and test splits, with no text in two of them.

use super::error::RunError;
use super::progress::{Progress, Watch};
use super::{Files, Recipe};
use crate::data::{self, DataError, Dataset, Labels, Task};
use crate::listed;

/// The splits of the data.
pub(super) struct Splits {
    pub train: Dataset,
    pub dev: Dataset,
    pub test: Option<Dataset>,
}

impl Splits {
    /// Reads the splits. Unless the recipe keeps them, texts of `test` are removed from the other two, and
    /// those of `dev` from `train`.
    pub fn read(recipe: &Recipe, watch: Watch) -> Result<Self, RunError> {
        let mut note = |text: String| watch(Progress::Note(&text));
        let mut train = read_train(recipe)?;
        let read = |files: &Option<Files>| {
            files.as_ref().map(|files| train.read_like(&recipe.data.sources(files))).transpose()
        };
        let (test, given) = (read(&recipe.data.test)?, read(&recipe.data.dev)?);
        let all = [Some(&train), given.as_ref(), test.as_ref()];
        for file in all.into_iter().flatten().flat_map(|data| &data.files) {
            note(format!("{}: {}", file.path.display(), file.reading));
        }
        let undecided = recipe.task.kind.is_none() && recipe.task.labels.is_none();
        let quantities = train.quantities().filter(|_| undecided);
        train.warnings().iter().chain(&quantities).for_each(|warning| note(warning.to_string()));
        let mut remove = |data: &mut Dataset, held_out: Option<&Dataset>, what: &'static str| {
            let Some(held_out) = held_out else { return Ok(()) };
            let found = data::remove_overlap(data, held_out, recipe.data.remove_overlap);
            found.iter().for_each(|warning| note(warning.to_string()));
            match data.is_empty() {
                true => Err(RunError::NothingLeft { what, held_out: held_out.files[0].path.clone() }),
                false => Ok(()),
            }
        };
        // before dev is split off, so that it has no texts of `test` either
        remove(&mut train, test.as_ref(), "learn from")?;
        let dev = match given {
            Some(mut dev) => {
                remove(&mut train, Some(&dev), "learn from")?;
                remove(&mut dev, test.as_ref(), "choose on")?;
                dev
            }
            None => {
                let split = data::split(&train, recipe.data.dev_fraction(train.len()), recipe.data.seed)?;
                note(format!("{} of {} rows are held out as dev", split.held_out.len(), train.len()));
                train = split.train;
                split.held_out
            }
        };
        train.check_variety()?;
        let splits = Self { train, dev, test };
        splits.note_gaps(recipe, &mut note);
        Ok(splits)
    }

    /// Notes what cannot be learned, chosen or fitted for lack of rows.
    fn note_gaps(&self, recipe: &Recipe, note: &mut dyn FnMut(String)) {
        let dev = &self.dev;
        let labels = self.train.absent();
        if !labels.is_empty() {
            note(format!("{} labels have no row to learn from: {}", labels.len(), listed(&labels, 6)));
        }
        let unmeasured = dev.absent();
        if !unmeasured.is_empty() {
            let so = match dev.task {
                Task::MultiLabel => "count as an F1 of 0",
                _ => "no figure tells how well they do",
            };
            let (count, all) = (unmeasured.len(), dev.labels.len());
            note(format!(
                "{count} of {all} labels have no row to choose on, and {so}: {}",
                listed(&unmeasured, 6)
            ));
        }
        const FEW: usize = 5;
        let counted = dev.labels.names().iter().zip(dev.class_counts());
        let few = counted.filter(|(_, count)| (1..FEW).contains(count));
        let few: Vec<String> = few.map(|(label, count)| format!("{label} ({count})")).collect();
        if !few.is_empty() {
            note(format!(
                "labels with fewer than {FEW} rows to choose on, so that their figures are mostly chance: {}",
                listed(&few, 6)
            ));
        }
        let decision = &recipe.decision;
        for (key, share, what) in [
            ("max_error", decision.max_error, "errors"),
            ("false_reject", decision.false_reject, "false rejects"),
        ] {
            if let Some(share) = share.filter(|share| share * (dev.len() as f64) < 2.0) {
                note(format!(
                    "decision.{key} = {share} is fitted on {} rows, too few to show so few {what}: hold out more",
                    dev.len()
                ));
            }
        }
        for (data, rows, so) in [
            (&self.train, "learn from", "nothing is to be learned of it"),
            (dev, "choose on", "it tells no checkpoint from another"),
        ] {
            let constant = constant_numbers(data);
            if !constant.is_empty() {
                note(format!("all rows to {rows} have the same {}: {so}", listed(&constant, 6)));
            }
        }
    }
}

/// Returns the names of a regression's numbers that are the same in all rows; `number` if it predicts one.
fn constant_numbers(data: &Dataset) -> Vec<String> {
    let first = data.examples.first().map_or(&[][..], |example| example.target.numbers());
    let constant =
        |at: &usize| data.examples.iter().all(|example| example.target.numbers()[*at] == first[*at]);
    let name = |at: usize| data.labels.name(at as u32).map_or("number".into(), |name| format!("`{name}`"));
    (0..first.len()).filter(constant).map(name).collect()
}

/// Reads the training texts, and checks the recipe against their task.
fn read_train(recipe: &Recipe) -> Result<Dataset, RunError> {
    let labels = recipe.task.labels.clone().map(Labels::ordered).transpose()?;
    let train = Dataset::read(&recipe.data.sources(&recipe.data.train), recipe.task.kind, labels)?;
    recipe.suits(train.task).map_err(|(key, problem)| RunError::Unsuitable { key, problem })?;
    if recipe.data.symmetric && !train.is_paired() {
        let (path, problem) = (train.files[0].path.clone(), "is true, but no row has two texts".to_owned());
        return Err(DataError::Option { path, option: "symmetric", problem }.into());
    }
    Ok(train)
}
