use super::name::{bundle_name, folder_name};
use super::{Recipe, RecipeError};
use crate::data::{Format, Source, Task};
use std::path::{Path, PathBuf};

/// What to write a recipe for.
#[derive(Clone, Debug)]
pub struct ForData<'a> {
    /// The training data and how to read it.
    pub train: &'a Source,
    /// Further data: dev for choosing the checkpoint, test only for measuring; see
    /// [`DataFiles`](super::DataFiles).
    pub dev: Option<&'a Path>,
    /// See `dev`.
    pub test: Option<&'a Path>,
    /// Value of `task.kind`.
    pub task: Option<Task>,
    /// Value of `task.max_tokens`.
    pub max_tokens: Option<usize>,
    /// The base model.
    pub base: &'a Path,
    /// A larger model that is fine-tuned instead, and teaches the base.
    pub teacher: Option<&'a Path>,
    /// Value of `distill.unlabelled`: files of texts that the teacher labels.
    pub unlabelled: &'a [PathBuf],
    /// Value of `distill.student`; without it, a teacher and texts without labels, nothing is distilled.
    pub student: Option<&'a str>,
    /// The output folder.
    pub output: &'a Path,
}

impl ForData<'_> {
    /// Returns the default output folder, in `runs/`.
    pub fn usual_output(data: &Path) -> PathBuf {
        Path::new("runs").join(folder_name(data))
    }

    /// Returns the recipe, not yet written.
    ///
    /// # Errors
    /// If there is already a different recipe.
    pub(super) fn draft(&self) -> Result<Draft, RecipeError> {
        let path = self.output.join("recipe.toml");
        let text = text(self).map_err(|cause| RecipeError::Read { path: self.train.path.clone(), cause })?;
        let recipe = Recipe::parse(&text, &path)?;
        let exists = match std::fs::read_to_string(&path) {
            Ok(there) if there == text => true,
            Ok(there) => {
                let keys = text.lines().filter(|line| line.contains(" = "));
                let lacks =
                    keys.filter(|key| !there.lines().any(|line| line == *key)).map(str::to_owned).collect();
                return Err(RecipeError::Other { path, lacks });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(cause) => return Err(RecipeError::Read { path, cause }),
        };
        Ok(Draft { recipe, path, text, exists })
    }
}

/// A recipe that may have to be written.
pub(super) struct Draft {
    pub recipe: Recipe,
    pub path: PathBuf,
    text: String,
    exists: bool,
}

impl Draft {
    /// Writes the recipe unless it is there.
    pub fn save(&self) -> Result<(), RecipeError> {
        if self.exists {
            return Ok(());
        }
        let write = |cause| RecipeError::Write { path: self.path.clone(), cause };
        std::fs::create_dir_all(self.path.parent().unwrap_or(Path::new(""))).map_err(write)?;
        goldcrest_edge::bundle::save(&self.path, self.text.as_bytes()).map_err(write)
    }
}

/// Returns the recipe's text: every key that is not the default, in the order of the schema.
fn text(order: &ForData) -> std::io::Result<String> {
    fn quoted(value: impl serde::Serialize) -> Option<String> {
        toml::Value::try_from(value).ok().map(|value| value.to_string())
    }
    // make paths canonical, except for a link's own name, whose extension may tell the format
    let whole = |path: &Path| -> std::io::Result<PathBuf> {
        let path = std::path::absolute(path)?;
        let folder = path.parent().and_then(|folder| std::fs::canonicalize(folder).ok());
        Ok(folder.zip(path.file_name()).map_or(path.clone(), |(folder, name)| folder.join(name)))
    };
    let path = |path: &Path| match whole(path)?.to_str() {
        Some(path) => Ok(quoted(path)),
        None => Err(std::io::Error::other("TOML cannot hold a name that is not UTF-8")),
    };
    let list = |paths: &[PathBuf]| -> std::io::Result<Option<String>> {
        let paths = paths.iter().map(|file| path(file)).collect::<std::io::Result<Option<Vec<_>>>>()?;
        Ok(paths.filter(|paths| !paths.is_empty()).map(|paths| format!("[{}]", paths.join(", "))))
    };
    let optional = |file: Option<&Path>| file.map_or(Ok(None), path);
    let train = order.train;
    let starts_as_base = order.teacher.is_some() || order.student.is_none() && !order.unlabelled.is_empty();
    let sections = [
        (
            "data",
            vec![
                ("train", path(&train.path)?),
                ("dev", optional(order.dev)?),
                ("test", optional(order.test)?),
                ("format", Some(train.format).filter(|format| *format != Format::Auto).and_then(quoted)),
                ("text", train.text.as_ref().and_then(quoted)),
                ("pair", train.pair.as_ref().and_then(quoted)),
                ("label", train.label.as_ref().and_then(quoted)),
                ("header", train.header.and_then(quoted)),
                ("quoting", train.quoting.and_then(quoted)),
                ("delimiter", train.delimiter.and_then(quoted)),
                ("label_separator", train.label_separator.as_ref().and_then(quoted)),
            ],
        ),
        (
            "task",
            vec![("kind", order.task.and_then(quoted)), ("max_tokens", order.max_tokens.and_then(quoted))],
        ),
        ("base", vec![("checkpoint", path(order.teacher.unwrap_or(order.base))?)]),
        (
            "distill",
            vec![
                ("student", order.student.and_then(quoted)),
                ("start", optional(Some(order.base).filter(|_| starts_as_base))?),
                ("unlabelled", list(order.unlabelled)?),
            ],
        ),
        ("pack", vec![("name", quoted(bundle_name(&train.path)))]),
    ];
    let mut text =
        "# Everything not named has a default; change what you like and run this file.\noutput = \".\" # the folder of this file\n"
            .to_owned();
    for (section, keys) in sections {
        let given: Vec<_> = keys.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        if !given.is_empty() {
            text += &format!("\n[{section}]\n");
        }
        text.extend(given.into_iter().map(|(key, value)| format!("{key} = {value}\n")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{RunError, Until, run_for_data};

    #[test]
    fn labelled_texts_get_a_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let (data, base) = (folder.path().join("my \"texts\".csv"), folder.path().join("base"));
        let output = folder.path().join("runs/mine");
        let mut train = Source::new(&data);
        (train.text, train.label, train.delimiter) = (Some("a \"b\"".into()), Some(2.into()), Some(';'));
        (train.pair, train.header) = (Some(3.into()), Some(true));
        (train.quoting, train.label_separator) = (Some(false), Some("| ".into()));
        let (dev, test) = (folder.path().join("dev.csv"), folder.path().join("test.csv"));
        let order = ForData {
            train: &train,
            dev: Some(&dev),
            test: Some(&test),
            task: Some(Task::MultiLabel),
            max_tokens: Some(64),
            base: &base,
            teacher: None,
            unlabelled: &[],
            student: Some("3.5 MB"),
            output: &output,
        };
        let Draft { recipe, path, .. } = order.draft().unwrap();
        assert_eq!(path, output.join("recipe.toml"));
        assert_eq!(recipe.pack.name, "my--texts-");
        assert_eq!((recipe.data.train.paths(), &recipe.base.checkpoint), (&[data.clone()][..], &base));
        assert_eq!(recipe.data.sources(&recipe.data.train), [train.clone()]);
        assert_eq!(recipe.data.dev.as_ref().unwrap().paths(), std::slice::from_ref(&dev));
        assert_eq!(recipe.data.test.as_ref().unwrap().paths(), std::slice::from_ref(&test));
        assert_eq!((recipe.task.kind, recipe.task.max_tokens), (Some(Task::MultiLabel), Some(64)));
        assert_eq!(recipe.output, output);
        assert!(ForData { student: Some("huge"), ..order.clone() }.draft().is_err());
        let large = folder.path().join("large");
        let more = ["a \"b\".txt", "c.csv"].map(|name| folder.path().join(name));
        let taught = ForData { teacher: Some(&large), unlabelled: &more, student: None, ..order.clone() };
        let taught = taught.draft().unwrap().recipe;
        let distill = taught.distill.unwrap();
        assert_eq!((&taught.base.checkpoint, distill.start), (&large, Some(base.clone())));
        assert_eq!(distill.unlabelled, more);
        let both =
            ForData { teacher: Some(&large), ..order.clone() }.draft().unwrap().recipe.distill.unwrap();
        assert_eq!(both.start, Some(base.clone()), "a student is cut from the base, whoever teaches it");
        // texts without labels need a student, which is the base if nothing else is said
        let alone = ForData { unlabelled: &more, student: None, ..order.clone() }.draft().unwrap().recipe;
        assert_eq!((alone.base.checkpoint, alone.distill.unwrap().start), (base.clone(), Some(base.clone())));
        // nothing is written before data and base have been checked
        let run = || run_for_data(&order, Until::Train, &mut |_| ());
        assert!(matches!(run(), Err(RunError::Data(_))));
        assert!(!output.exists());
        // and no other recipe is overwritten
        std::fs::create_dir_all(&output).unwrap();
        std::fs::write(&path, "mine").unwrap();
        let error = run().unwrap_err();
        assert!(matches!(error, RunError::Recipe(RecipeError::Other { .. })), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
