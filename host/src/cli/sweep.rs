use super::progress::Display;
use goldcrest::recipe::{Recipe, Until};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Example:
  goldcrest sweep host/recipes/sst2-*.toml")]
pub struct Args {
    /// Recipes, each run to its bundle
    #[arg(required = true)]
    recipes: Vec<PathBuf>,
    /// No progress on stderr
    #[arg(long)]
    quiet: bool,
}

/// A Markdown table, smallest bundle first. A recipe that fails has its reason in the table.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let recipes = args.recipes.iter().map(|path| Recipe::load(path)).collect::<Result<Vec<_>, _>>()?;
    super::use_threads(recipes[0].train.threads);
    let mut rows: Vec<(u64, String)> = Vec::new();
    let mut failed = 0;
    for (recipe, path) in recipes.iter().zip(&args.recipes) {
        let mut display = Display::new(args.quiet);
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let row = match goldcrest::recipe::run(recipe, Until::Pack, &mut |p| display.show(p)) {
            Ok(finished) => {
                let Some(c) = finished.comparison else { continue };
                let figure =
                    |m: &goldcrest::evaluate::Measured| m.metrics.get(c.metric).unwrap_or(f64::NAN) * 100.0;
                let bytes = c.int8.bytes.unwrap_or(0);
                let micros = c.int8.latency.map_or(f64::NAN, |l| l.p50);
                let (megabytes, fp32, int8) = (bytes as f64 / 1e6, figure(&c.fp32), figure(&c.int8));
                (bytes, format!("| {name} | {megabytes:.2} | {fp32:.2} | {int8:.2} | {micros:.0} |"))
            }
            Err(error) => {
                failed += 1;
                (u64::MAX, format!("| {name} | {error} | | | |"))
            }
        };
        rows.push(row);
    }
    rows.sort();
    println!("| recipe | MB | fp32 | int8 | µs a text (p50) |\n|---|---|---|---|---|");
    rows.iter().for_each(|(_, row)| println!("{row}"));
    anyhow::ensure!(failed == 0, "{failed} of {} recipes failed", recipes.len());
    Ok(())
}
