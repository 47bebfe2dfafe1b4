use super::progress::Display;
use anyhow::Context;
use goldcrest::evaluate::{Comparison, Point, size_plot};
use goldcrest::recipe::{Recipe, run_every_stage};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
The bundles are in packed/ of the recipe's output folder, those of further seeds in seed-1/packed/ and so on.

Examples:
  goldcrest sweep host/recipes/sst2-small.toml host/recipes/sst2-nano.toml --plot sizes.svg
  goldcrest sweep host/recipes/voice-commands.toml --seeds 3")]
pub struct Args {
    /// Recipes; the student of every stage is packed and measured, or what is fine-tuned if there is none
    #[arg(required = true)]
    recipes: Vec<PathBuf>,
    /// Run each recipe with this many seeds, and show the best and the mean
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Write a plot of accuracy against size to this SVG file
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Show no progress on stderr
    #[arg(long)]
    quiet: bool,
}

/// A row of the table: the comparison of each seed's bundle, or why there is none.
struct Row {
    name: String,
    runs: Vec<Comparison>,
    errors: Vec<String>,
}

/// Prints a Markdown table, smallest bundle first. Failures are explained in the table.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let other =
        args.recipes.iter().find(|path| path.extension().is_none_or(|e| !e.eq_ignore_ascii_case("toml")));
    if let Some(path) = other {
        let hint = format!(
            "{} is no recipe, a TOML file; `goldcrest run` writes one for labelled texts",
            path.display()
        );
        return Err(super::Usage(hint).into());
    }
    // check now, so that days of training do not end with a plot that cannot be written
    let folder = args.plot.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(super::Usage(format!("--plot: there is no folder {}", folder.display())).into());
    }
    if let Some(plot) = &args.plot {
        anyhow::ensure!(!plot.is_dir(), "--plot: {} is a folder", plot.display());
        super::check_output(plot, args.recipes.iter().map(PathBuf::as_path))?;
    }
    let recipes = args.recipes.iter().map(|path| Recipe::load(path)).collect::<Result<Vec<_>, _>>()?;
    // as many as the recipe that asks for most; none asks for all
    let threads = recipes.iter().map(|recipe| recipe.train.threads);
    super::start_threads(threads.max_by_key(|threads| threads.unwrap_or(usize::MAX)).flatten())?;
    let mut display = Display::new(args.quiet)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut series = Vec::new();
    for (recipe, path) in recipes.iter().zip(&args.recipes) {
        // `goldcrest run messages.csv` names every recipe `recipe.toml`
        let name = match path.file_stem().unwrap_or_default().to_string_lossy() {
            stem if stem == "recipe" => recipe.pack.name.clone().into(),
            stem => stem,
        };
        let first = rows.len();
        for seed in 0..args.seeds {
            let recipe = recipe.with_seed(seed);
            let stages = match run_every_stage(&recipe, &mut |p| display.show(p)) {
                Ok(stages) => stages,
                Err(error) => vec![(String::new(), Err(error))],
            };
            for (i, (stage, outcome)) in stages.into_iter().enumerate() {
                if rows.len() <= first + i {
                    rows.push(Row { name: name.to_string(), runs: Vec::new(), errors: Vec::new() });
                }
                // a seed that failed before its first student has no stage to name
                if !stage.is_empty() {
                    let row = &mut rows[first + i];
                    let named = format!("{name} {stage}");
                    // a student taught by n-grams may be better than the teacher with some seeds only
                    let same = row.runs.is_empty() && row.errors.is_empty() || row.name == named;
                    row.name = if same { named } else { name.to_string() };
                }
                match outcome {
                    Ok(comparison) => rows[first + i].runs.push(comparison),
                    // an interruption is not the failure of a student
                    Err(error) if super::is_interrupted(&error) => return Err(error.into()),
                    Err(error) => rows[first + i].errors.push(error.to_string()),
                }
            }
        }
        let mut points: Vec<Point> = rows[first..].iter().filter_map(Row::point).collect();
        points.sort_by(|a, b| a.megabytes.total_cmp(&b.megabytes));
        series.push(points);
    }
    rows.sort_by(|a, b| a.megabytes().total_cmp(&b.megabytes()));
    // before anything is printed: nobody may be reading
    let drawn = args.plot.as_deref().map_or(Ok(()), |path| draw(path, &rows, &series));
    let mut table =
        "| student | MB | metric | fp32 | int8 | int8, mean of seeds | µs a text (p50) |\n|---|---:|---|---:|---:|---:|---:|"
            .to_owned();
    for row in &rows {
        table += &format!("\n{}", row.line());
    }
    let show = || -> anyhow::Result<()> {
        say!("{table}");
        Ok(())
    };
    let shown = show();
    // the table tells which students failed, but nothing else tells of the plot
    drawn?;
    let failed = rows.iter().filter(|row| !row.errors.is_empty()).count();
    anyhow::ensure!(failed == 0, "{failed} of {} students failed", rows.len());
    shown
}

/// Draws all points, if they are of one metric.
fn draw(path: &Path, rows: &[Row], series: &[Vec<Point>]) -> anyhow::Result<()> {
    let mut metrics = rows.iter().flat_map(|row| &row.runs).map(|run| run.metric);
    let Some(metric) = metrics.next() else { return Ok(()) };
    if let Some(other) = metrics.find(|other| *other != metric) {
        anyhow::bail!("there is no plot of both {metric} and {other}: draw those recipes by themselves");
    }
    goldcrest_edge::bundle::save(path, size_plot(&metric.to_string(), series).as_bytes())
        .with_context(|| path.display().to_string())
}

impl Row {
    fn int8(&self) -> Vec<f64> {
        self.runs.iter().map(|c| c.points(&c.int8)).collect()
    }

    /// Returns the run whose int8 model is best.
    fn best(&self) -> Option<(&Comparison, f64)> {
        self.runs.iter().zip(self.int8()).max_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn megabytes(&self) -> f64 {
        self.best().and_then(|(c, _)| c.int8.bytes).map_or(f64::INFINITY, |bytes| bytes as f64 / 1e6)
    }

    fn point(&self) -> Option<Point> {
        let (_, points) = self.best()?;
        Some(Point { name: self.name.clone(), megabytes: self.megabytes(), points })
    }

    fn line(&self) -> String {
        // table cells cannot hold line ends
        let reason =
            self.errors.first().map(|error| format!(" ({})", error.replace('\n', "; ").replace('|', "/")));
        let reason = reason.unwrap_or_default();
        let Some((c, int8)) = self.best() else { return format!("| {}{reason} | | | | | | |", self.name) };
        let fp32 = c.points(&c.fp32);
        let mean = self.int8().iter().sum::<f64>() / self.runs.len() as f64;
        let micros = c.int8.latency.map_or(f64::NAN, |l| l.p50);
        let (name, megabytes, metric) = (&self.name, self.megabytes(), c.metric);
        format!(
            "| {name}{reason} | {megabytes:.2} | {metric} | {fp32:.2} | {int8:.2} | {mean:.2} | {micros:.0} |"
        )
    }
}
