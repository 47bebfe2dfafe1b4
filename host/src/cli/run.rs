use super::progress::Display;
use goldcrest::recipe::{Finished, Recipe, Until};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The recipe, a TOML file
    recipe: PathBuf,
    /// No progress on stderr
    #[arg(long)]
    quiet: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, until: Until) -> anyhow::Result<()> {
    let recipe = Recipe::load(&args.recipe)?;
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
