//! Reading a recipe, and the files that it names.

use super::name::bundle_name;
use super::{DataFiles, Files, Recipe};
use crate::data::{self, DataError, Dataset, Format, Source, Text};
use std::path::{Path, PathBuf};

/// Why a recipe is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each field is what its name says, and the message shows it")]
pub enum RecipeError {
    #[error("cannot read {path}: {cause}")]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("cannot write {path}: {cause}")]
    Write { path: PathBuf, cause: std::io::Error },
    #[error(
        "{path} already exists and differs{}: change it and run it, which reuses what is trained, or name another folder with --output",
        if lacks.is_empty() { String::new() } else { format!(", without {}", lacks.join(" and ")) }
    )]
    Other { path: PathBuf, lacks: Vec<String> },
    #[error("{path}: {problem}")]
    Toml { path: PathBuf, problem: String },
    #[error("{path}: `{key}` {problem}")]
    Invalid { path: PathBuf, key: &'static str, problem: String },
}

impl Recipe {
    /// Reads and checks a recipe. Its relative paths are resolved against its folder.
    ///
    /// # Errors
    /// [`RecipeError`], with the line of a syntax error or unknown key, or with the key of an invalid value.
    pub fn load(path: &Path) -> Result<Self, RecipeError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| RecipeError::Read { path: path.to_owned(), cause })?;
        Self::parse(&text, path)
    }

    /// Like [`load`](Self::load), for the text of the recipe at `path`.
    ///
    /// # Errors
    /// See [`load`](Self::load).
    pub fn parse(text: &str, path: &Path) -> Result<Self, RecipeError> {
        let mut recipe: Recipe = toml::from_str(text).map_err(|error| {
            // the message quotes the line
            let shortened = error.to_string().trim_end().lines().map(shorten).collect::<Vec<_>>();
            RecipeError::Toml { path: path.to_owned(), problem: shortened.join("\n") }
        })?;
        if recipe.pack.name.is_empty() {
            recipe.pack.name = bundle_name(path);
        }
        recipe.check().map_err(|(key, problem)| RecipeError::Invalid {
            path: path.to_owned(),
            key,
            problem,
        })?;
        recipe.resolve(path.parent().unwrap_or(Path::new("")));
        Ok(recipe)
    }

    /// Returns the recipe for repetition `number` of the run. Seeds of training and distillation follow those
    /// of the previous repetition, which uses one per teacher; from 1 on, the output goes to a subfolder.
    pub fn with_seed(&self, number: u64) -> Self {
        let mut recipe = self.clone();
        if number > 0 {
            recipe.output.push(format!("seed-{number}"));
            let step = number.wrapping_mul(recipe.distill.as_ref().map_or(1, |d| d.teachers as u64));
            let of_students = recipe.distill.as_mut().and_then(|distill| distill.seed.as_mut());
            for seed in [&mut recipe.train.seed].into_iter().chain(of_students) {
                *seed = seed.wrapping_add(step);
            }
        }
        recipe
    }

    /// Returns the models that distillation starts from or asks.
    pub(super) fn other_models(&self) -> impl Iterator<Item = &PathBuf> {
        self.distill.iter().flat_map(|distill| distill.start.iter().chain(&distill.other_teachers))
    }

    /// Returns all files of texts.
    pub(super) fn data_files(&self) -> impl Iterator<Item = &PathBuf> {
        let DataFiles { train, dev, test, out_of_scope, .. } = &self.data;
        let lists = [Some(train), dev.as_ref(), test.as_ref(), out_of_scope.as_ref()];
        let unlabelled = self.distill.iter().flat_map(|distill| &distill.unlabelled);
        lists.into_iter().flatten().flat_map(Files::paths).chain(unlabelled).chain(&self.pack.golden_messages)
    }

    fn resolve(&mut self, folder: &Path) {
        // joining by components removes `.`
        let join = |path: &mut PathBuf| *path = folder.join(&*path).components().collect();
        join(&mut self.output);
        join(&mut self.base.checkpoint);
        self.pack.golden_messages.iter_mut().for_each(join);
        if let Some(distill) = &mut self.distill {
            let own = distill.start.iter_mut().chain(&mut distill.other_teachers);
            own.chain(&mut distill.unlabelled).for_each(join);
        }
        let DataFiles { train, dev, test, out_of_scope, .. } = &mut self.data;
        for files in [Some(train), dev.as_mut(), test.as_mut(), out_of_scope.as_mut()].into_iter().flatten() {
            files.paths_mut().iter_mut().for_each(join);
        }
    }
}

/// Cuts off what no terminal shows of a line.
fn shorten(line: &str) -> String {
    const SHOWN: usize = 1000;
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

impl Files {
    /// Returns all paths.
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Files::One(path) => std::slice::from_ref(path),
            Files::Several(paths) => paths,
        }
    }

    fn paths_mut(&mut self) -> &mut [PathBuf] {
        match self {
            Files::One(path) => std::slice::from_mut(path),
            Files::Several(paths) => paths,
        }
    }
}

impl DataFiles {
    /// Returns sources for some of the files.
    pub fn sources(&self, files: &Files) -> Vec<Source> {
        files.paths().iter().map(|path| self.source(path)).collect()
    }

    fn source(&self, path: &Path) -> Source {
        Source {
            path: path.into(),
            format: self.format,
            text: self.text.clone(),
            pair: self.pair.clone(),
            label: self.label.clone(),
            header: self.header,
            quoting: self.quoting,
            delimiter: self.delimiter,
            label_separator: self.label_separator.clone(),
            ..Source::default()
        }
    }

    /// Reads the texts of an unlabelled file, from the columns named here if it has them; lines of plain text
    /// may have labels if those of `train` have.
    pub(super) fn unlabelled(&self, path: &Path, train: &Dataset) -> Result<Vec<Text>, DataError> {
        let mut like = self.source(path);
        if train.files.first().is_some_and(|file| file.resolved.format == Format::Lines) {
            like.format = Format::Lines;
        }
        data::unlabelled(path, train.is_paired(), &like)
    }

    /// Reads the texts of several such files.
    pub(super) fn unlabelled_of(&self, paths: &[PathBuf], train: &Dataset) -> Result<Vec<Text>, DataError> {
        let texts = paths.iter().map(|path| self.unlabelled(path, train));
        Ok(texts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Returns the share of `train`, which has that many rows, that is held out if no `dev` is given.
    pub fn dev_fraction(&self, rows: usize) -> f64 {
        /// The standard error of a share is at most half a point on so many rows.
        const ENOUGH: f64 = 10_000.0;
        self.dev_fraction.unwrap_or((ENOUGH / rows.max(1) as f64).min(0.1))
    }
}
