use super::progress::Display;
use goldcrest::distill::{Layers, Pooling};
use goldcrest::recipe::{Shrink, shrink};
use goldcrest::train::TrainOptions;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Example:
  goldcrest shrink base/all-MiniLM-L6-v2 -o my-base --mean --layers 1,3,5 --vocabulary 10000 messages.txt reviews.csv")]
pub struct Args {
    /// A checkpoint folder
    base: PathBuf,
    /// Texts to learn from, one a line, or CSV, TSV, JSON Lines; labels are not read
    #[arg(required = true)]
    texts: Vec<PathBuf>,
    /// The folder to write
    #[arg(short, long)]
    output: PathBuf,
    /// Layers to keep, counted from 0
    #[arg(long, value_delimiter = ',', default_value = "1,3,5")]
    layers: Vec<usize>,
    /// Let [CLS] learn the mean of all tokens' vectors: for bases that are sentence encoders
    #[arg(long)]
    mean: bool,
    /// Word pieces to keep
    #[arg(long, default_value_t = 10_000)]
    vocabulary: usize,
    /// Longest text in word pieces
    #[arg(long, default_value_t = 64)]
    max_tokens: usize,
    /// Passes over the texts
    #[arg(long, default_value_t = 1.0)]
    epochs: f64,
    /// Highest learning rate
    #[arg(long, default_value_t = 3e-4)]
    learning_rate: f64,
    /// Threads; all cores when not given
    #[arg(long)]
    threads: Option<usize>,
    /// No progress on stderr
    #[arg(long)]
    quiet: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    super::use_threads(args.threads);
    let mut display = Display::new(args.quiet);
    let order = Shrink {
        base: args.base.clone(),
        output: args.output.clone(),
        layers: Layers::These(args.layers.clone()),
        pooling: if args.mean { Pooling::Mean } else { Pooling::Cls },
        vocabulary: args.vocabulary,
        texts: args.texts.clone(),
        max_tokens: args.max_tokens,
        training: TrainOptions {
            epochs: Some(args.epochs),
            learning_rate: Some(args.learning_rate),
            ..TrainOptions::default()
        },
    };
    shrink(&order, &mut |progress| display.show(progress))?;
    println!("{}", args.output.display());
    Ok(())
}
