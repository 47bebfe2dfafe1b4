use super::data_args::TextReading;
use anyhow::Context;
use goldcrest::bert::InputOptions;
use goldcrest::data::{self, Task, Text};
use goldcrest::evaluate::answer_in_a_cell;
use goldcrest::train::Predictor;
use goldcrest_edge::bundle::is_bundle;
use goldcrest_edge::classifier::{self, Classify, feed};
use goldcrest_edge::stream::{self, Format, Interrupt, Lines, Records, Stdout, write_error, write_record};
use goldcrest_edge::{Classifier, Options};
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Writes JSON Lines, one record per text, as `goldcrest-edge --format jsonl` does (docs/device.md). A row's `n` counts the
rows of all files.

Examples:
  goldcrest predict runs/voice/voice.bundle messages.csv --csv > answers.csv
  goldcrest predict models/spam/spam.bundle inbox.jsonl --text data.subject
  echo 'turn on the light' | goldcrest predict runs/voice/student --logits")]
pub struct Args {
    /// A bundle or a checkpoint folder
    model: PathBuf,
    /// Texts, one per line, or tables by their names (CSV, TSV, JSON); `-`, or no file, means stdin
    files: Vec<PathBuf>,
    /// Longest input of a checkpoint in word pieces [default: as it was trained, else what its tokenizer gives, at most
    /// 512]
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=512))]
    max_tokens: Option<u32>,
    /// The checkpoint reads two texts, on a line separated by a tab; implied by most models of pairs
    #[arg(long)]
    pairs: bool,
    /// Also list the K best labels
    #[arg(long, value_name = "K", default_value_t = 0, hide_default_value = true)]
    top: usize,
    /// Add the logits, each as the 8 hex digits of its f32
    #[arg(long)]
    logits: bool,
    /// Write CSV instead: for each row of the tables its line, the text or two, the answer (several are joined by |), and
    /// the score of a single label
    #[arg(long, conflicts_with_all = ["top", "logits"])]
    csv: bool,
    #[command(flatten, next_help_heading = "How tables are read, where that is not detected")]
    reading: TextReading,
}

/// Prints the answer for each text.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if is_bundle(&args.model) {
        if args.max_tokens.is_some() || args.pairs {
            let problem = "a bundle says itself what it reads: --max-tokens and --pairs are for checkpoints";
            return Err(super::Usage(problem.into()).into());
        }
        let classifier = Classifier::open(&args.model, &Options::default())?;
        let (task, pairs) = (classifier.manifest().task, classifier.manifest().pair);
        return answer(args, classifier, task, pairs);
    }
    let checkpoint = super::load_checkpoint(&args.model)?;
    anyhow::ensure!(
        checkpoint.has_head(),
        "{} has no whole classifier, with a pooler and a row for each label of its config.json: train one first (goldcrest run)",
        args.model.display()
    );
    let max_tokens = args.max_tokens.map(|tokens| tokens as usize);
    let asked = InputOptions { max_tokens, pairs: args.pairs, windows: None };
    let input = super::input_format(&checkpoint, asked, 512)?;
    let task = checkpoint.config.task();
    answer(args, Predictor::new(checkpoint, input)?, task, input.pairs)
}

fn answer(args: &Args, mut model: impl Classify, task: Task, pairs: bool) -> anyhow::Result<()> {
    if args.top > 0 && task == Task::Regression {
        return Err(super::Usage("this model gives numbers: --top does not apply".into()).into());
    }
    let separator = pairs.then_some('\t');
    let options = stream::Options { format: Format::Jsonl, top: args.top, logits: args.logits, separator };
    let stdin = [PathBuf::from("-")];
    let files = if args.files.is_empty() { &stdin[..] } else { &args.files };
    let tables = files.iter().filter(|file| args.reading.says_how_to_read() || data::is_table(file)).count();
    let errors = match () {
        () if tables == files.len() => {
            let mut all = Vec::new();
            for file in files {
                all.extend(rows(file, &args.reading, pairs)?);
            }
            match args.csv {
                true => write_csv(&mut model, &all, pairs)?,
                false => write_records(&mut model, &all, &options)?,
            }
        }
        () if args.csv => {
            let problem = "--csv is for tables: name a file, or a column with --text";
            return Err(super::Usage(problem.into()).into());
        }
        () if tables > 0 => {
            return Err(super::Usage("tables and files of lines do not go together".into()).into());
        }
        () => answer_lines(model, files, options)?,
    };
    if errors > 0 {
        tell!("goldcrest: messages that could not be read or classified: {errors}");
    }
    Ok(())
}

/// Reads the rows of a table, and says how they were read.
fn rows(file: &Path, reading: &TextReading, pairs: bool) -> anyhow::Result<Vec<(u32, Text)>> {
    let file = if file == Path::new("-") { Path::new("/dev/stdin") } else { file };
    let texts = data::texts(&reading.source(file), pairs)?;
    tell!("{}: {}", file.display(), texts.reading);
    Ok(texts.rows)
}

/// Answers one text per line while the files are read. Returns how many could not be.
fn answer_lines(model: impl Classify, files: &[PathBuf], options: stream::Options) -> anyhow::Result<u64> {
    let mut records = Records::new(model, Stdout::buffered()?, options);
    // signals end the program as usual: nothing is lost
    let (mut lines, interrupt) = (Lines::default(), Interrupt::new()?);
    for path in files {
        let name = || if path == Path::new("-") { "stdin".into() } else { path.display().to_string() };
        let mut source = stream::open(path).with_context(name)?;
        Stdout::check_is_not(&source).with_context(name)?;
        lines.run(&mut source, &mut records, &interrupt).map_err(|error| match error {
            stream::Error::Read(_) => anyhow::Error::from(error).context(name()),
            error => error.into(),
        })?;
    }
    Ok(records.errors())
}

/// Writes a record for each row. Returns how many could not be classified.
fn write_records(
    model: &mut impl Classify,
    rows: &[(u32, Text)],
    options: &stream::Options,
) -> anyhow::Result<u64> {
    let (mut out, mut errors) = (Stdout::buffered()?, 0);
    for (number, (_, (text, pair))) in (1..).zip(rows) {
        let Ok(answer) = model.classify_chunks(&mut feed(text, pair.as_deref()));
        match answer {
            Ok(outcome) => write_record(&mut out, number, &outcome, options),
            Err(error @ classifier::Error::Open(_)) => return Err(error.into()),
            Err(error) => {
                errors += 1;
                write_error(&mut out, options.format, number, error)
            }
        }
        .map_err(stream::Error::Write)?;
    }
    out.flush().map_err(stream::Error::Write)?;
    Ok(errors)
}

/// Writes a table of the rows and their answers. Returns how many could not be classified: their answers are empty.
fn write_csv(model: &mut impl Classify, rows: &[(u32, Text)], pairs: bool) -> anyhow::Result<u64> {
    let (mut out, mut errors) = (csv::Writer::from_writer(Stdout::buffered()?), 0);
    let written = |result: csv::Result<()>| result.map_err(|error| stream::Error::Write(error.into()));
    let pair = pairs.then_some("pair");
    written(out.write_record(["line", "text"].into_iter().chain(pair).chain(["answer", "score"])))?;
    for (line, (text, pair)) in rows {
        let Ok(answer) = model.classify_chunks(&mut feed(text, pair.as_deref()));
        let (answer, score) = match answer {
            Ok(outcome) => answer_in_a_cell(&outcome),
            Err(error @ classifier::Error::Open(_)) => return Err(error.into()),
            Err(error) => {
                errors += 1;
                tell!("goldcrest: line {line}: {error}");
                (String::new(), None)
            }
        };
        let (line, score) = (line.to_string(), score.map_or(String::new(), |score| format!("{score:.4}")));
        let texts = [&line, text].into_iter().chain(pair);
        written(out.write_record(texts.chain([&answer, &score])))?;
    }
    out.flush().map_err(stream::Error::Write)?;
    Ok(errors)
}
