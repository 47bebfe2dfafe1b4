use anyhow::Context;
use goldcrest::bert::InputOptions;
use goldcrest::data::Task;
use goldcrest::train::Predictor;
use goldcrest_edge::stream::{self, Format, Interrupt, Lines, Records, Stdout};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Writes JSON Lines, one record per text, as `goldcrest-edge --format jsonl` does (docs/device.md).

Example:
  echo 'turn on the light' | goldcrest predict runs/voice/student --logits")]
pub struct Args {
    /// A checkpoint folder
    checkpoint: PathBuf,
    /// Texts, one per line; `-`, or no file, means stdin
    files: Vec<PathBuf>,
    /// Longest input in word pieces [default: as it was trained, else what its tokenizer gives, at most 512]
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=512))]
    max_tokens: Option<u32>,
    /// Two texts per line, separated by a tab; implied if the checkpoint reads pairs
    #[arg(long)]
    pairs: bool,
    /// Also list the K best labels
    #[arg(long, value_name = "K", default_value_t = 0, hide_default_value = true)]
    top: usize,
    /// Add the logits, each as the 8 hex digits of its f32
    #[arg(long)]
    logits: bool,
}

/// Prints one JSON record per line, in the format of `goldcrest-edge classify --format jsonl`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let checkpoint = super::load_checkpoint(&args.checkpoint)?;
    anyhow::ensure!(
        checkpoint.has_head(),
        "{} has no whole classifier, with a pooler and a row for each label of its config.json: train one first (goldcrest run)",
        args.checkpoint.display()
    );
    let max_tokens = args.max_tokens.map(|tokens| tokens as usize);
    let asked = InputOptions { max_tokens, pairs: args.pairs, windows: None };
    let input = super::input_format(&checkpoint, asked, 512)?;
    if args.top > 0 && checkpoint.config.task() == Task::Regression {
        return Err(super::Usage("this model gives numbers: --top does not apply".into()).into());
    }
    let separator = input.pairs.then_some('\t');
    let options = stream::Options { format: Format::Jsonl, top: args.top, logits: args.logits, separator };
    for table in args.files.iter().filter(|file| stream::is_named_as_table(file) && separator.is_none()) {
        tell!("goldcrest: {}: {}", table.display(), stream::WHOLE_LINES);
    }
    let mut records = Records::new(Predictor::new(checkpoint, input)?, Stdout::buffered()?, options);
    // signals end the program as usual: nothing is lost
    let (mut lines, interrupt) = (Lines::default(), Interrupt::new()?);
    let stdin = [PathBuf::from("-")];
    for path in if args.files.is_empty() { &stdin[..] } else { &args.files } {
        let name = || if path == Path::new("-") { "stdin".into() } else { path.display().to_string() };
        let mut source = stream::open(path).with_context(name)?;
        Stdout::check_is_not(&source).with_context(name)?;
        lines.run(&mut source, &mut records, &interrupt).map_err(|error| match error {
            stream::Error::Read(_) => anyhow::Error::from(error).context(name()),
            error => error.into(),
        })?;
    }
    if records.errors() > 0 {
        tell!("goldcrest: messages that could not be read or classified: {}", records.errors());
    }
    Ok(())
}
