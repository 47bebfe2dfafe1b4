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
    if args.json {
        print_json(&finished)
    } else {
        print_text(&recipe, &finished)
    }
    Ok(())
}

fn recipe(args: &Args) -> anyhow::Result<Recipe> {
    if args.recipe.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        if args.base.is_some() || args.student.is_some() || args.output.is_some() {
            bail!("--base, --student and --output are for labelled texts: a recipe says them itself");
        }
        return Ok(Recipe::load(&args.recipe)?);
    }
    if !args.recipe.exists() {
        bail!("{}: no such file", args.recipe.display());
    }
    let base = args.base.clone().unwrap_or_else(|| "models/base".into());
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

fn print_text(recipe: &Recipe, finished: &Finished) {
    for (name, summaries) in [("teacher", &finished.teachers), ("student", &finished.students)] {
        for summary in summaries {
            println!("{name}  {:.2} on dev after {} steps", summary.best * 100.0, summary.steps);
        }
    }
    if let Some(comparison) = &finished.comparison {
        println!("\n{}", comparison.text());
    }
    match &finished.bundle {
        Some(bundle) => println!("{}", bundle.display()),
        None => println!("{}", recipe.output.display()),
    }
}

fn print_json(finished: &Finished) {
    let json = serde_json::json!({
        "teachers": finished.teachers,
        "students": finished.students,
        "comparison": finished.comparison,
        "bundle": finished.bundle,
    });
    println!("{json:#}");
}
