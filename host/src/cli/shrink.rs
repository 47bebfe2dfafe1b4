use super::data_args::Reading;
use super::progress::Display;
use goldcrest::bert::Pooling;
use goldcrest::distill::Layers;
use goldcrest::recipe::{Shrink, shrink};
use goldcrest::train::TrainOptions;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Example:
  goldcrest shrink base/all-MiniLM-L6-v2 -o my-base --mean --layers 1,3,5 --vocabulary 10000 messages.txt reviews.csv")]
pub struct Args {
    /// A checkpoint folder or a bundle
    base: PathBuf,
    /// Texts to learn from: one per line, or CSV, TSV, JSON Lines, fastText; labels are ignored (those before a tab
    /// with `--format lines`)
    #[arg(required = true)]
    texts: Vec<PathBuf>,
    /// The folder to write
    #[arg(short, long)]
    output: PathBuf,
    /// Layers to keep, counted from 0, such as 1,3,5 [default: three, evenly spread]
    #[arg(long, value_delimiter = ',', value_name = "N,N,…")]
    layers: Vec<usize>,
    /// Let [CLS] learn the mean of all token vectors: for bases that are sentence encoders
    #[arg(long)]
    mean: bool,
    /// Word pieces to keep
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..))]
    vocabulary: u32,
    /// Longest input in word pieces
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(3..=512))]
    max_tokens: u32,
    /// Passes over the texts
    #[arg(long, default_value_t = 1.0, value_parser = not_negative)]
    epochs: f64,
    /// Peak learning rate
    #[arg(long, default_value_t = 3e-4, value_parser = positive)]
    learning_rate: f64,
    /// Number of threads [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Show no progress on stderr
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    reading: Reading,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    super::start_threads(args.threads.map(usize::from))?;
    let mut display = Display::new(args.quiet)?;
    let order = Shrink {
        base: args.base.clone(),
        output: args.output.clone(),
        layers: (!args.layers.is_empty()).then(|| Layers::These(args.layers.clone())),
        pooling: if args.mean { Pooling::Mean } else { Pooling::Cls },
        vocabulary: args.vocabulary as usize,
        texts: args.texts.clone(),
        reading: args.reading.source(Path::new("")),
        max_tokens: args.max_tokens as usize,
        training: TrainOptions {
            epochs: Some(args.epochs),
            learning_rate: Some(args.learning_rate),
            ..TrainOptions::default()
        },
    };
    shrink(&order, &mut |progress| display.show(progress))?;
    say!("{}", args.output.display());
    Ok(())
}

fn positive(text: &str) -> Result<f64, String> {
    match not_negative(text) {
        Ok(value) if value > 0.0 => Ok(value),
        _ => Err("it must be a number above 0".into()),
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if f64::is_finite(value) && value >= 0.0 => Ok(value),
        _ => Err("it must be a number from 0".into()),
    }
}
