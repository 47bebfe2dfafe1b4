//! `goldcrest-edge classify`
use super::bundle::ModelArgs;
use super::messages::{check_pair, parse_separator, run_lines};
use super::{MAX_THREADS, Usage, say, say_errors};
use anyhow::{Context, Result};
use clap::ValueEnum;
use goldcrest_edge::decision::Task;
use goldcrest_edge::stream::{self, Format, Records, Stdout, ThreadedRecords};
use std::path::{Path, PathBuf};

/// Classify messages, one per line, from files or stdin (the default)
///
/// Writes one record per message. Each line is a message, even an empty one; the last line needs no line end.
/// Records are written as soon as no more input is ready, otherwise at most a tenth of a second and one
/// message later.
///
/// Never write to a bundle in use: put the new one beside it and `mv` it over the old one. A running program
/// keeps reading the old one until it is restarted. If a bundle is written to nevertheless, the program ends
/// with an error.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Files of messages; `-`, or no file, means stdin
    files: Vec<PathBuf>,
    /// text: `label TAB score`, repeated for several labels; jsonl: one JSON object per message
    #[arg(long, value_enum, default_value = "text")]
    format: FormatArg,
    /// Also list the K best labels with their scores (for multi-label models: jsonl only)
    #[arg(long, value_name = "K", default_value_t = 0, hide_default_value = true)]
    top: usize,
    /// Add the logits, each as the 8 hex digits of its f32 bits (jsonl only)
    #[arg(long)]
    logits: bool,
    /// Read two texts per line, with this character (or TAB, or `\t`) between them
    #[arg(long, value_name = "TAB", value_parser = parse_separator)]
    text_pair: Option<char>,
    /// Number of threads, which work on waiting messages, and together on a long one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    threads: u16,
    /// Print no diagnostics except errors
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    Text,
    Jsonl,
}

impl Args {
    /// Returns the first file of messages, if any is given.
    pub fn first_file(&self) -> Option<&Path> {
        self.files.first().map(PathBuf::as_path)
    }
}

const EXAMPLES: &str = "\
Examples:
  echo 'what a lovely day' | goldcrest-edge classify
  goldcrest-edge classify --bundle commands.bundle --format jsonl --top 3 messages.txt
  cut -f2 log.tsv | goldcrest-edge classify --format jsonl | grep '\"label\":\"negative\"'
  goldcrest-edge classify --bundle mrpc.bundle --text-pair TAB < pairs.tsv";

pub fn run(args: &Args) -> Result<()> {
    let format = match args.format {
        FormatArg::Text if args.logits => {
            return Err(Usage("--logits needs --format jsonl".into()).into());
        }
        FormatArg::Text => Format::Text,
        FormatArg::Jsonl => Format::Jsonl,
    };
    let classifier = args.model.load()?;
    let manifest = classifier.manifest();
    check_pair(manifest, args.text_pair)?;
    if manifest.task == Task::MultiLabel && format == Format::Text && args.top > 0 {
        let hint =
            "this model gives any number of labels: --top needs --format jsonl, to keep both lists apart";
        return Err(Usage(hint.into()).into());
    }
    if manifest.task == Task::Regression && args.top > 0 {
        return Err(Usage("this model gives numbers: --top does not apply".into()).into());
    }
    if let Some(stock) = classifier.model().describe().stock
        && !args.model.stock
        && !args.quiet
    {
        say(format_args!("not fused, so slower, and bits may differ between processors: {stock}"));
    }
    let untold = args.quiet || args.text_pair.is_some();
    for table in args.files.iter().filter(|file| !untold && is_named_as_table(file)) {
        say(format_args!(
            "{}: each line is classified as it is, as one text with all its columns",
            table.display()
        ));
    }
    let options = stream::Options { format, top: args.top, logits: args.logits, separator: args.text_pair };
    let out = Stdout::buffered().context("stdout")?;
    let (ended, errors) = if args.threads == 1 {
        let mut records = Records::new(classifier, out, options);
        (run_lines(&args.files, &mut records), records.errors())
    } else {
        let mut threaded = classifier.into_threaded(args.threads.into())?;
        let mut backlog = ThreadedRecords::new(&mut threaded, out, options);
        (run_lines(&args.files, &mut backlog), backlog.errors())
    };
    if !args.quiet {
        say_errors(errors);
    }
    ended
}

/// Returns whether a file's name says that its lines are more than texts: CSV, TSV or JSON.
fn is_named_as_table(path: &Path) -> bool {
    let ends = |kind: &str| path.extension().is_some_and(|end| end.eq_ignore_ascii_case(kind));
    ["csv", "tsv", "json", "jsonl", "ndjson"].into_iter().any(ends)
}
