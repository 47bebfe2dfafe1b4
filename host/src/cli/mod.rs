//! The commands of `goldcrest`. Results go to stdout, progress and diagnostics to stderr.
#![deny(clippy::print_stdout)]

/// Prints a line of the result. If the reader has closed the pipe, that is an error rather than a panic.
macro_rules! say {
    ($($text:tt)*) => {
        anyhow::Context::context(
            std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($text)*)))
                .map_err(goldcrest_edge::stream::Error::Write),
            "stdout",
        )?
    };
}

/// Prints a line on stderr. Failure to write it, for example on a full disk, is ignored.
macro_rules! tell {
    ($($text:tt)*) => {
        drop(std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}\n", format_args!($($text)*))))
    };
}

mod bench_train;
mod compare;
mod data_args;
mod evaluate;
mod export;
mod inspect;
mod pack;
mod predict;
mod progress;
mod run;
mod shrink;
mod sweep;

use anyhow::Context;
use clap::{Parser, Subcommand};
use goldcrest::bert::{Checkpoint, InputFormat, InputOptions};
use goldcrest::data::Dataset;
use goldcrest::recipe::{RunError, Until};
use goldcrest::train;
use goldcrest_edge::bundle::is_bundle;
use goldcrest_edge::{format_error, stream};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// From labelled texts to one small file that classifies text on a board: fine-tune, distil, quantize, export, pack,
/// prove.
///
/// Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted (the same command resumes). On SIGINT, SIGTERM or SIGHUP,
/// training saves the current step first; a second signal, a second or more later, ends it at once.
#[derive(Parser)]
#[command(name = "goldcrest", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything in a recipe (or needed for labelled texts), up to a checked bundle; finished training
    /// is reused, interrupted training resumed
    #[command(after_help = run::RUN_EXAMPLES)]
    Run(run::Args),
    /// Run a recipe up to its fine-tuned teacher
    #[command(after_help = run::TRAIN_EXAMPLES)]
    Train(run::Args),
    /// Run a recipe up to its distilled student
    #[command(after_help = run::DISTILL_EXAMPLES)]
    Distill(run::Args),
    /// Write a checkpoint's int8 ONNX model, and show how rounding affects each matrix
    Quantize(export::QuantizeArgs),
    /// Write a checkpoint as ONNX
    Export(export::ExportArgs),
    /// Make a bundle from a checkpoint, without training or measuring
    ///
    /// No temperature, thresholds or abstention are fitted: scores differ from those of a run's own bundle.
    Pack(pack::Args),
    /// Measure a bundle on labelled texts, through the device's own code
    ///
    /// The table counts the best label of every text (for several labels: those above their thresholds). Below it stand the
    /// calibration error with the temperature and, if the model abstains, the share of texts that it answers.
    Evaluate(evaluate::Args),
    /// Compare two bundles on labelled texts, through the device's own code
    Compare(compare::Args),
    /// Run several recipes and print one table of size, accuracy and speed
    Sweep(sweep::Args),
    /// Classify texts or the rows of a table: with a bundle as the device does, with a checkpoint in full precision
    ///
    /// To a checkpoint, the temperature, thresholds and abstention that are fitted for its bundle do not apply: scores differ from
    /// the device's.
    Predict(predict::Args),
    /// Make a smaller base to fine-tune: fewer layers and word pieces, trained on unlabelled texts
    Shrink(shrink::Args),
    /// Show what a checkpoint, a recipe or a data file holds
    Inspect(inspect::Args),
    /// Time training steps on random texts
    #[command(hide = true)]
    BenchTrain(bench_train::Args),
}

const EXAMPLES: &str = "\
Examples:
  goldcrest run messages.csv
  goldcrest run host/recipes/voice-commands.toml
  goldcrest inspect messages.csv
  goldcrest evaluate runs/voice/voice.bundle messages.csv
  goldcrest compare runs/voice/voice.fp32.bundle runs/voice/voice.bundle messages.csv --markdown
  goldcrest predict runs/voice/voice.bundle messages.csv --csv > answers.csv
  goldcrest export runs/voice/student --int8 -o model.onnx";

/// The command line is contradictory: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

pub fn main() -> ExitCode {
    // without it, a limit ends the program without a word
    let _ = stream::survive_file_size_limit();
    let command = Cli::parse().command;
    // the others know how many
    let threads = match command {
        Command::Run(_) | Command::Train(_) | Command::Distill(_) => Ok(()),
        Command::Sweep(_) | Command::Shrink(_) | Command::BenchTrain(_) => Ok(()),
        _ => start_threads(None),
    };
    let result = threads.and_then(|()| match command {
        Command::Run(args) => run::run(&args, Until::Pack),
        Command::Train(args) => run::run(&args, Until::Train),
        Command::Distill(args) => run::run(&args, Until::Distill),
        Command::Quantize(args) => export::quantize(&args),
        Command::Export(args) => export::export(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Shrink(args) => shrink::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::BenchTrain(args) => bench_train::run(&args),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if stream::is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            tell!("goldcrest: {}", format_error(error.as_ref()));
            ExitCode::from(match () {
                () if error.is::<Usage>() => 2,
                () if error.downcast_ref().is_some_and(is_interrupted) => INTERRUPTED,
                () => 1,
            })
        }
    }
}

/// The exit code after SIGINT, as in shells: 128 plus the signal's number.
const INTERRUPTED: u8 = 130;

fn is_interrupted(error: &RunError) -> bool {
    matches!(error, RunError::Train(train::Error::Interrupted { .. }))
}

/// Starts the threads for all parallel work, once; default: one for each core.
fn start_threads(threads: Option<usize>) -> anyhow::Result<()> {
    // 0 stands for all, or RAYON_NUM_THREADS
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
    pool.build_global().with_context(|| match threads {
        Some(threads) => format!("cannot start {threads} threads; fewer may do (`train.threads`, --threads)"),
        None => "cannot start the threads; fewer may do (RAYON_NUM_THREADS=1)".into(),
    })
}

/// Checks that this is a file that may hold texts.
fn check_is_texts(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    anyhow::ensure!(path.exists(), "{shown}: no such file");
    anyhow::ensure!(!path.join("recipe.toml").is_file(), "{shown} is a folder: run {shown}/recipe.toml");
    anyhow::ensure!(!path.is_dir(), "{shown} is a folder, not a file of texts");
    anyhow::ensure!(
        path.is_file(),
        "{shown} is not a regular file: a run reads its texts again when it is resumed, so write them to a file"
    );
    anyhow::ensure!(
        !is_bundle(path),
        "{shown} is a bundle: goldcrest-edge classifies with it, and --base starts from it"
    );
    Ok(())
}

/// Loads the checkpoint in a folder; the error says where else to look for one.
fn load_checkpoint(folder: &Path) -> anyhow::Result<Checkpoint> {
    let shown = folder.display();
    anyhow::ensure!(folder.exists(), "{shown}: no such folder");
    anyhow::ensure!(
        !is_bundle(folder),
        "{shown} is a bundle, not a checkpoint's folder: goldcrest-edge runs it"
    );
    anyhow::ensure!(folder.is_dir(), "{shown} is a file, not a checkpoint's folder");
    if !folder.join("config.json").exists() {
        let mut inside: Vec<String> = std::fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.join("config.json").is_file())
            .map(|path| path.display().to_string())
            .collect();
        inside.sort();
        anyhow::ensure!(inside.is_empty(), "{shown} is no checkpoint; in it there is {}", inside.join(", "));
        anyhow::bail!("{shown} is no checkpoint: it has no config.json");
    }
    Ok(Checkpoint::load(folder)?)
}

/// Refuses an output that would replace something that is read: files, or those of a checkpoint's folder.
fn check_output<'a>(output: &Path, read: impl IntoIterator<Item = &'a Path>) -> anyhow::Result<()> {
    let Ok(there) = output.canonicalize() else { return Ok(()) };
    let same = |path: &Path| path.canonicalize().is_ok_and(|path| path == there);
    let mut read = read.into_iter();
    anyhow::ensure!(
        !read.any(|path| same(path) || Checkpoint::FILES.iter().any(|name| same(&path.join(name)))),
        "{} is read by this command: name another output",
        output.display()
    );
    Ok(())
}

/// Returns the input format of a checkpoint. Unless it or the user says more, inputs have at most `usual` word pieces and
/// no more than its tokenizer gives. What it cannot read is wrong usage.
fn input_format(checkpoint: &Checkpoint, asked: InputOptions, usual: usize) -> Result<InputFormat, Usage> {
    let usual = usual.min(checkpoint.tokenizer.max_length);
    checkpoint.config.input_format(asked, usual).map_err(|error| Usage(error.to_string()))
}

/// Value parser for clap: points that may be lost.
fn points(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(points) if (0.0..=100.0).contains(&points) => Ok(points),
        _ => Err("it must be 0 to 100".into()),
    }
}

/// How a report is printed.
#[derive(clap::Args)]
struct ReportArgs {
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ReportArgs {
    /// Prints a report as asked; by default its tables for a terminal.
    fn print(&self, report: &impl Serialize, text: &str, markdown: &str) -> anyhow::Result<()> {
        match (self.json, self.markdown) {
            (true, _) => say!("{}", serde_json::to_string_pretty(report)?),
            (_, true) => say!("{}", markdown.trim_end()),
            _ => say!("{}", text.trim_end()),
        }
        Ok(())
    }
}

/// Prints on stderr how files were read.
fn say_reading(data: &Dataset) {
    for file in &data.files {
        tell!("{}: {}", file.path.display(), file.reading);
    }
}
