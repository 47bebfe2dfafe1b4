use super::{Recipe, RecipeError};
use crate::data::{Format, Source, Task};
use std::path::{Path, PathBuf};

/// What a recipe is written for.
#[derive(Clone, Debug)]
pub struct ForData<'a> {
    /// Labelled texts to learn from, and how they are read.
    pub train: &'a Source,
    /// Others to choose and measure on, and yet others to measure on; see [`DataFiles`](super::DataFiles).
    pub dev: Option<&'a Path>,
    /// See `dev`.
    pub test: Option<&'a Path>,
    /// As `task.kind`.
    pub task: Option<Task>,
    /// As `task.max_tokens`.
    pub max_tokens: Option<usize>,
    /// The pretrained model.
    pub base: &'a Path,
    /// As `distill.student`; without it nothing is distilled.
    pub student: Option<&'a str>,
    /// The folder that everything goes into.
    pub output: &'a Path,
}

impl ForData<'_> {
    /// The folder for everything where none is named: `runs`, and the bundle's name.
    pub fn usual_output(data: &Path) -> PathBuf {
        Path::new("runs").join(name(data))
    }
}

impl Recipe {
    /// Writes the least recipe for some labelled texts to `recipe.toml` in the output folder, and reads it back. One that is
    /// there and says the same is left alone.
    ///
    /// # Errors
    /// [`RecipeError`]; a recipe that is there and says something else is one.
    pub fn for_data(order: &ForData) -> Result<(Self, PathBuf), RecipeError> {
        let path = order.output.join("recipe.toml");
        let text =
            text(order).map_err(|source| RecipeError::Read { path: order.train.path.clone(), source })?;
        let recipe = Recipe::parse(&text, &path)?;
        let write = |source| RecipeError::Write { path: path.clone(), source };
        match std::fs::read_to_string(&path) {
            Ok(there) if there == text => {}
            Ok(_) => return Err(RecipeError::Other { path }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(order.output).map_err(write)?;
                goldcrest_edge::bundle::save(&path, text.as_bytes()).map_err(write)?;
            }
            Err(source) => return Err(RecipeError::Read { path, source }),
        }
        Ok((recipe, path))
    }
}

/// Every key that is not the default, in the order of the schema.
fn text(order: &ForData) -> std::io::Result<String> {
    fn quoted(value: impl serde::Serialize) -> Option<String> {
        toml::Value::try_from(value).ok().map(|value| value.to_string())
    }
    let path = |path: &Path| Ok::<_, std::io::Error>(quoted(std::path::absolute(path)?.to_string_lossy()));
    let optional = |file: Option<&Path>| file.map_or(Ok(None), path);
    let train = order.train;
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
                ("delimiter", train.delimiter.and_then(quoted)),
                ("label_separator", train.label_separator.as_ref().and_then(quoted)),
            ],
        ),
        (
            "task",
            vec![("kind", order.task.and_then(quoted)), ("max_tokens", order.max_tokens.and_then(quoted))],
        ),
        ("base", vec![("checkpoint", path(order.base)?)]),
        ("distill", vec![("student", order.student.and_then(quoted))]),
        ("pack", vec![("name", quoted(name(&train.path)))]),
    ];
    let mut text =
        "# Everything not named has a default; change what you like and run this file.\noutput = \".\"\n"
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

/// The file's name as a bundle can have it.
fn name(data: &Path) -> String {
    let stem = data.file_stem().unwrap_or_default().to_string_lossy();
    let valid = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = stem.chars().map(valid).collect();
    match name.trim_start_matches(['-', '.']) {
        "" => "bundle".into(),
        name => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_has_a_name() {
        let named =
            ["отзывы.csv", "(final) é.csv", ".hidden.csv", "a.b.csv", "-x"].map(|file| name(Path::new(file)));
        assert_eq!(named, ["bundle", "final---", "hidden", "a.b", "x"]);
    }

    #[test]
    fn labelled_texts_get_a_recipe_which_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (data, base) = (folder.path().join("my \"texts\".csv"), folder.path().join("base"));
        let output = folder.path().join("runs/mine");
        let mut train = Source::new(&data);
        (train.text, train.label, train.delimiter) = (Some("a \"b\"".into()), Some(2.into()), Some(';'));
        let dev = folder.path().join("dev.csv");
        let order = ForData {
            train: &train,
            dev: Some(&dev),
            test: None,
            task: Some(Task::MultiLabel),
            max_tokens: Some(64),
            base: &base,
            student: Some("3.5 MB"),
            output: &output,
        };
        let (recipe, path) = Recipe::for_data(&order).unwrap();
        assert_eq!(recipe.pack.name, "my--texts-");
        assert_eq!((recipe.data.train.paths(), &recipe.base.checkpoint), (&[data.clone()][..], &base));
        assert_eq!(recipe.data.sources(&recipe.data.train), [train.clone()]);
        assert_eq!(recipe.data.dev.as_ref().unwrap().paths(), [dev.clone()]);
        assert_eq!((recipe.task.kind, recipe.task.max_tokens), (Some(Task::MultiLabel), 64));
        assert_eq!(recipe.output, output);
        assert_eq!(Recipe::load(&path).unwrap(), recipe);
        assert_eq!(Recipe::for_data(&order).unwrap().0, recipe);

        let error = Recipe::for_data(&ForData { student: None, ..order.clone() }).unwrap_err();
        assert!(matches!(error, RecipeError::Other { .. }), "{error}");
        assert_eq!(Recipe::load(&path).unwrap(), recipe);
        let output = folder.path().join("runs/other");
        assert!(Recipe::for_data(&ForData { student: Some("huge"), output: &output, ..order }).is_err());
        assert!(!output.exists());
    }
}
