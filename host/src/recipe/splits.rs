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
        let labels = recipe.task.labels.clone().map(Labels::ordered).transpose()?;
        let sources = |files: &Files| recipe.data.sources(files);
        let mut train = Dataset::read(&sources(&recipe.data.train), recipe.task.kind, labels)?;
        let unsuitable = |(key, problem)| RunError::Unsuitable { key, problem };
        recipe.suits(train.task).map_err(unsuitable)?;
        if recipe.data.symmetric && !train.is_paired() {
            let (path, problem) =
                (train.files[0].path.clone(), "is true, but no row has two texts".to_owned());
            return Err(DataError::Option { path, option: "symmetric", problem }.into());
        }
        let read = |files: &Option<Files>, train: &Dataset| {
            files.as_ref().map(|files| train.read_like(&sources(files))).transpose()
        };
        let test = read(&recipe.data.test, &train)?;
        let mut note = |text: String| watch(Progress::Note(&text));
        let given = read(&recipe.data.dev, &train)?;
        for file in [Some(&train), given.as_ref(), test.as_ref()].into_iter().flatten().flat_map(|d| &d.files)
        {
            note(format!("{}: {}", file.path.display(), file.reading));
        }
        let undecided = recipe.task.kind.is_none() && recipe.task.labels.is_none();
        let quantities = train.quantities().filter(|_| undecided);
        train.warnings().iter().chain(&quantities).for_each(|w| note(w.to_string()));
        let mut remove = |data: &mut Dataset, held_out: &Dataset, what: &'static str| {
            let found = data::remove_overlap(data, held_out, recipe.data.remove_overlap);
            found.iter().for_each(|warning| note(warning.to_string()));
            match data.is_empty() {
                true => Err(RunError::NothingLeft { what, held_out: held_out.files[0].path.clone() }),
                false => Ok(()),
            }
        };
        let (learn, choose) = ("learn from", "choose on");
        // before dev is split off, so that it has no texts of `test` either
        if let Some(test) = &test {
            remove(&mut train, test, learn)?;
        }
        let dev = match given {
            Some(mut dev) => {
                remove(&mut train, &dev, learn)?;
                if let Some(test) = &test {
                    remove(&mut dev, test, choose)?;
                }
                dev
            }
            None => {
                let split = data::split(&train, recipe.data.dev_fraction(train.len()), recipe.data.seed)?;
                note(format!("{} of {} rows are held out as dev", split.held_out.len(), train.len()));
                train = split.train;
                split.held_out
            }
        };
        train.check_variety(&sources(&recipe.data.train))?;
        let labels = train.absent();
        if !labels.is_empty() {
            note(format!("{} labels have no row to learn from: {}", labels.len(), listed(&labels, 6)));
        }
        let unmeasured = dev.absent();
        if !unmeasured.is_empty() {
            let all = dev.labels.len();
            let so = match dev.task {
                Task::MultiLabel => "count as an F1 of 0",
                _ => "no figure tells how well they do",
            };
            note(format!(
                "{} of {all} labels have no row to choose on, and {so}: {}",
                unmeasured.len(),
                listed(&unmeasured, 6)
            ));
        }
        if let Some(most) = recipe.decision.max_error.filter(|most| most * (dev.len() as f64) < 2.0) {
            note(format!(
                "decision.max_error = {most} is fitted on {} rows, too few to show so few errors: hold out more",
                dev.len()
            ));
        }
        let numbers = || dev.examples.iter().map(|example| &example.target);
        if dev.task == Task::Regression && numbers().all(|number| Some(number) == numbers().next()) {
            note(
                "all rows to choose on have the same number: no checkpoint is better than another there"
                    .into(),
            );
        }
        Ok(Self { train, dev, test })
    }
}
