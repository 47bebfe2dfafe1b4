use super::data_args::Reading;
use super::progress::Display;
use anyhow::bail;
use goldcrest::data::Task;
use goldcrest::distill::Size;
use goldcrest::recipe::{self, Finished, ForData, Recipe, Until};
use goldcrest::train::Summary;
use std::path::PathBuf;

pub const RUN_EXAMPLES: &str = "\
Examples:
  goldcrest run messages.csv
  goldcrest run train.tsv --dev dev.tsv --text 2 --label 1
  goldcrest run messages.csv --student small --output runs/small
  goldcrest run messages.csv --teacher base/all-mpnet-base-v2 --unlabelled log.txt --output runs/taught
  goldcrest run host/recipes/voice-commands.toml";

pub const TRAIN_EXAMPLES: &str = "\
Examples:
  goldcrest train messages.csv
  goldcrest train host/recipes/voice-commands.toml
The checkpoint is runs/NAME/teacher; `goldcrest run` with the same arguments goes on from it.";

pub const DISTILL_EXAMPLES: &str = "\
Examples:
  goldcrest distill messages.csv --student small
  goldcrest distill host/recipes/voice-commands.toml
The checkpoint is runs/NAME/student, or student-1 and so on; `goldcrest run` with the same arguments goes on from it.";

#[derive(clap::Args)]
pub struct Args {
    /// The recipe (a TOML file), or labelled texts for which to write one
    recipe: PathBuf,
    /// Show no progress on stderr
    #[arg(long)]
    quiet: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    texts: Texts,
}

/// Options that a recipe would contain.
#[derive(clap::Args, PartialEq, Default)]
#[command(next_help_heading = "For labelled texts")]
struct Texts {
    /// The base model [default: models/base]
    #[arg(long)]
    base: Option<PathBuf>,
    /// A larger checkpoint, which is fine-tuned and then teaches the base (scripts/fetch-base.sh --teacher)
    #[arg(long, value_name = "FOLDER")]
    teacher: Option<PathBuf>,
    /// Texts without labels to learn from, which the teacher labels; may be repeated
    #[arg(long, value_name = "FILE")]
    unlabelled: Vec<PathBuf>,
    /// Distil to this size, such as `small` or `3.5 MB`
    #[arg(long, value_name = "SIZE", value_parser = size)]
    student: Option<String>,
    /// The output folder [default: runs/NAME]
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// Texts to choose checkpoints and measure on [default: a tenth of all, at most 10,000 rows]
    #[arg(long, value_name = "FILE")]
    dev: Option<PathBuf>,
    /// Texts to measure the result on; they decide nothing
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// single-label, multi-label or regression [default: detected]
    #[arg(long)]
    task: Option<Task>,
    /// Longest input in word pieces, 3 to 512 [default: 128; 256 if many texts are longer; windows of that if
    /// very many are longer still]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=512))]
    max_tokens: Option<u16>,
    #[command(flatten)]
    reading: Reading,
}

pub fn run(args: &Args, until: Until) -> anyhow::Result<()> {
    let is_recipe = args.recipe.extension().is_some_and(|end| end.eq_ignore_ascii_case("toml"));
    let finished = if is_recipe { run_recipe(args, until)? } else { run_texts(args, until)? };
    if args.json { show_json(&finished) } else { show_text(&finished) }
}

fn run_recipe(args: &Args, until: Until) -> anyhow::Result<Finished> {
    if args.texts != Texts::default() {
        let hint = "a recipe says itself what it is made of; only --quiet and --json go with one";
        return Err(super::Usage(hint.into()).into());
    }
    let recipe = Recipe::load(&args.recipe)?;
    super::start_threads(recipe.train.threads)?;
    let mut display = Display::new(args.quiet)?;
    Ok(recipe::run(&recipe, until, &mut |p| display.show(p))?)
}

fn run_texts(args: &Args, until: Until) -> anyhow::Result<Finished> {
    super::start_threads(None)?;
    let (path, texts) = (&args.recipe, &args.texts);
    let measured = [Some(path), texts.dev.as_ref(), texts.test.as_ref()];
    for file in measured.into_iter().flatten().chain(&texts.unlabelled) {
        super::check_is_texts(file)?;
    }
    let base = texts.base.clone().unwrap_or_else(|| "models/base".into());
    if !base.exists() {
        bail!(
            "{}: no such file or folder here; --base names a checkpoint's folder or a bundle, such as models/base of the repository (scripts/fetch-base.sh fetches a larger one)",
            base.display()
        );
    }
    if let Some(missing) = texts.teacher.as_ref().filter(|teacher| !teacher.exists()) {
        bail!(
            "{}: no such file or folder here; --teacher names a checkpoint's folder (scripts/fetch-base.sh --teacher fetches one)",
            missing.display()
        );
    }
    let distils = texts.student.is_some() || texts.teacher.is_some() || !texts.unlabelled.is_empty();
    if until == Until::Distill && !distils {
        return Err(super::Usage(
            "--student SIZE says what to distil to, such as `small` or `3.5 MB`; --teacher FOLDER distils to the base"
                .into(),
        )
        .into());
    }
    let output = texts.output.clone().unwrap_or_else(|| ForData::usual_output(path));
    let order = ForData {
        train: &texts.reading.source(path),
        dev: texts.dev.as_deref(),
        test: texts.test.as_deref(),
        task: texts.task,
        max_tokens: texts.max_tokens.map(usize::from),
        base: &base,
        teacher: texts.teacher.as_deref(),
        unlabelled: &texts.unlabelled,
        student: texts.student.as_deref(),
        output: &output,
    };
    let mut display = Display::new(args.quiet)?;
    Ok(recipe::run_for_data(&order, until, &mut |p| display.show(p))?)
}

fn show_text(finished: &Finished) -> anyhow::Result<()> {
    for (name, summaries) in [("teacher", &finished.teachers), ("student", &finished.students)] {
        for (summary, number) in summaries.iter().zip(1..) {
            let name = if summaries.len() > 1 { format!("{name} {number}") } else { name.to_owned() };
            let Summary { best, best_step, steps, runs, .. } = summary;
            let best = best * 100.0;
            match runs {
                1 => say!("{name}  {best:.2} on dev, step {best_step} of {steps}"),
                _ => say!("{name}  {best:.2} on dev, the averaged weights of {runs} runs of {steps} steps"),
            }
        }
    }
    if let Some(comparison) = &finished.comparison {
        say!("\n{}", comparison.text());
    }
    say!("{}", finished.bundle.as_ref().unwrap_or(&finished.model).display());
    Ok(())
}

fn show_json(finished: &Finished) -> anyhow::Result<()> {
    let json = serde_json::json!({
        "teachers": finished.teachers,
        "students": finished.students,
        "comparison": finished.comparison,
        // a bundle may hold other weights, of quantization-aware training
        "model": finished.bundle.is_none().then_some(&finished.model),
        "bundle": finished.bundle,
    });
    say!("{json:#}");
    Ok(())
}

/// Value parser for clap.
fn size(text: &str) -> Result<String, String> {
    Size::try_from(text.to_owned()).map(String::from)
}
