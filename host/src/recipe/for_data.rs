use super::{Recipe, RecipeError};
use std::path::{Path, PathBuf};

/// What a recipe is written for.
#[derive(Debug)]
pub struct ForData<'a> {
    /// Labelled texts.
    pub data: &'a Path,
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
        let text = text(order).map_err(|source| RecipeError::Read { path: order.data.into(), source })?;
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

fn text(order: &ForData) -> std::io::Result<String> {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let absolute =
        |path: &Path| Ok::<_, std::io::Error>(quoted(&std::path::absolute(path)?.to_string_lossy()));
    let student = order.student.map(|size| format!("[distill]\nstudent = {}\n\n", quoted(size)));
    Ok(format!(
        "# Everything not named has a default; change what you like and run this file.\noutput = \".\"\n\n[data]\ntrain = {}\n\n\
         [base]\ncheckpoint = {}\n\n{}[pack]\nname = {}\n",
        absolute(order.data)?,
        absolute(order.base)?,
        student.unwrap_or_default(),
        quoted(&name(order.data)),
    ))
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
        let order = ForData { data: &data, base: &base, student: Some("3.5 MB"), output: &output };
        let (recipe, path) = Recipe::for_data(&order).unwrap();
        assert_eq!(recipe.pack.name, "my--texts-");
        assert_eq!((recipe.data.train.paths(), &recipe.base.checkpoint), (&[data.clone()][..], &base));
        assert_eq!(recipe.output, output);
        assert_eq!(Recipe::load(&path).unwrap(), recipe);
        assert_eq!(Recipe::for_data(&order).unwrap().0, recipe);

        let error = Recipe::for_data(&ForData { student: None, ..order }).unwrap_err();
        assert!(matches!(error, RecipeError::Other { .. }), "{error}");
        assert_eq!(Recipe::load(&path).unwrap(), recipe);
        assert!(
            Recipe::for_data(&ForData { student: Some("huge"), data: &data, base: &base, output: &base })
                .is_err()
        );
    }
}
