use super::progress::Display;
use anyhow::bail;
use goldcrest::recipe::{Finished, ForData, Recipe, Until};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  goldcrest run messages.csv
  goldcrest run messages.csv --student small --output runs/small
  goldcrest run host/recipes/voice-commands.toml")]
pub struct Args {
    /// The recipe, a TOML file; or labelled texts, for which one is written
    recipe: PathBuf,
    /// Of labelled texts: the pretrained model, models/base when not given
    #[arg(long)]
    base: Option<PathBuf>,
    /// Of labelled texts: distil to this size, such as `small` or `3.5 MB`
    #[arg(long)]
    student: Option<String>,
    /// Of labelled texts: the folder for everything, runs/NAME when not given
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// No progress on stderr
    #[arg(long)]
    quiet: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, until: Until) -> anyhow::Result<()> {
    let recipe = recipe(args)?;
    super::use_threads(recipe.train.threads);
    let mut display = Display::new(args.quiet);
    let finished = goldcrest::recipe::run(&recipe, until, &mut |p| display.show(p))?;
    if args.json { show_json(&finished) } else { show_text(&recipe, &finished) }
}

fn recipe(args: &Args) -> anyhow::Result<Recipe> {
    if args.recipe.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        if args.base.is_some() || args.student.is_some() || args.output.is_some() {
            let hint = "--base, --student and --output are for labelled texts: a recipe says them itself";
            return Err(super::Usage(hint.into()).into());
        }
        return Ok(Recipe::load(&args.recipe)?);
    }
    if !args.recipe.is_file() {
        bail!("{}: no such file", args.recipe.display());
    }
    // before a recipe is written that would be in the way of the right one
    let base = args.base.clone().unwrap_or_else(|| "models/base".into());
    if !base.exists() {
        bail!("{}: no such checkpoint; --base names one", base.display());
    }
    let output = args.output.clone().unwrap_or_else(|| ForData::usual_output(&args.recipe));
    let (recipe, path) = Recipe::for_data(&ForData {
        data: &args.recipe,
        base: &base,
        student: args.student.as_deref(),
        output: &output,
    })?;
    if !args.quiet {
        eprintln!("{}", path.display());
    }
    Ok(recipe)
}

fn show_text(recipe: &Recipe, finished: &Finished) -> anyhow::Result<()> {
    for (name, summaries) in [("teacher", &finished.teachers), ("student", &finished.students)] {
        for summary in summaries {
            say!("{name}  {:.2} on dev after {} steps", summary.best * 100.0, summary.steps);
        }
    }
    if let Some(comparison) = &finished.comparison {
        say!("\n{}", comparison.text());
    }
    match &finished.bundle {
        Some(bundle) => say!("{}", bundle.display()),
        None => say!("{}", recipe.output.display()),
    }
    Ok(())
}

fn show_json(finished: &Finished) -> anyhow::Result<()> {
    let json = serde_json::json!({
        "teachers": finished.teachers,
        "students": finished.students,
        "comparison": finished.comparison,
        "bundle": finished.bundle,
    });
    say!("{json:#}");
    Ok(())
}
