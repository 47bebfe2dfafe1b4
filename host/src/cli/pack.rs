use anyhow::{Context, bail};
use clap::builder::NonEmptyStringValueParser;
use goldcrest::bert::{InputOptions, TextWindows};
use goldcrest::recipe::{BUNDLE_NAME, is_bundle_name};
use goldcrest::{export, quantize};
use goldcrest_edge::bundle::{Licence, Manifest};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
The task is config.json's problem_type. Without it, one output means regression, several mean single-label.

Examples:
  goldcrest pack runs/voice/aware -o voice.bundle --name voice --golden messages.txt
  goldcrest pack my-checkpoint -o reviews.bundle --max-tokens 256 --windows 16,8")]
pub struct Args {
    /// A checkpoint folder
    checkpoint: PathBuf,
    /// The bundle to write
    #[arg(short, long)]
    output: PathBuf,
    /// Name of the model: letters, digits, `-`, `_` and `.` [default: the file's name]
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// Semantic version of the model
    #[arg(long, default_value = "0.1.0")]
    model_version: String,
    /// Keep full precision
    #[arg(long)]
    fp32: bool,
    /// The model reads two texts; checkpoints trained by goldcrest already say so
    #[arg(long, alias = "pair")]
    pairs: bool,
    /// Bits of the word embeddings, 8 or 4
    #[arg(long, default_value = "8", value_parser = ["4", "8"], conflicts_with = "fp32")]
    embedding_bits: String,
    /// Keep matrices whose names end in NAME in half precision; `goldcrest quantize --sensitivity` shows the
    /// most sensitive ones
    #[arg(long, value_name = "NAME", conflicts_with = "fp32", value_parser = NonEmptyStringValueParser::new())]
    half: Vec<String>,
    /// Longest input in word pieces [default: as it was trained, else what its tokenizer gives, at most 128]
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=512))]
    max_tokens: Option<u32>,
    /// Read longer texts in windows: tokens that two neighbours share, and maximum number per text [default:
    /// as it was trained, else texts are truncated]
    #[arg(long, value_name = "OVERLAP,MOST", value_parser = windows, conflicts_with = "pairs")]
    windows: Option<TextWindows>,
    /// Messages for the device's self-test, one per line (pairs separated by a tab)
    #[arg(long)]
    golden: Option<PathBuf>,
    /// Licence of the base model
    #[arg(long, default_value = "unstated")]
    base_licence: String,
    /// Licence of the data
    #[arg(long, default_value = "unstated")]
    data_licence: String,
}

/// Value parser for clap.
fn name(text: &str) -> Result<String, String> {
    if is_bundle_name(text) { Ok(text.to_owned()) } else { Err(format!("it {BUNDLE_NAME}")) }
}

/// Value parser for clap.
fn windows(text: &str) -> Result<TextWindows, String> {
    let parsed = text.split_once(',').and_then(|(overlap, most)| {
        Some(TextWindows { overlap: overlap.trim().parse().ok()?, most: most.trim().parse().ok()? })
    });
    parsed.ok_or_else(|| "it is two numbers, such as 16,8".to_owned())
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut checkpoint = super::load_checkpoint(&args.checkpoint)?;
    super::check_output(&args.output, [args.checkpoint.as_path()].into_iter().chain(args.golden.as_deref()))?;
    let max_tokens = args.max_tokens.map(|tokens| tokens as usize);
    let asked = InputOptions { max_tokens, pairs: args.pairs, windows: args.windows };
    let input = super::input_format(&checkpoint, asked, 128)?;
    if args.windows.is_some() && input.pairs {
        return Err(super::Usage("this checkpoint reads pairs: --windows does not apply".into()).into());
    }
    checkpoint.cut_positions(input.max_tokens);
    let stem = args.output.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let manifest = Manifest {
        name: args.name.clone().unwrap_or(stem),
        version: args.model_version.clone(),
        licence: Licence { base_model: args.base_licence.clone(), data: args.data_licence.clone() },
        ..export::manifest(&checkpoint, input)
    };
    let golden = match &args.golden {
        Some(path) => {
            let text = std::fs::read(path).with_context(|| path.display().to_string())?;
            let text = String::from_utf8(text).map_err(|error| {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
                anyhow::anyhow!("{}:{line}: not valid UTF-8", path.display())
            })?;
            let golden = export::golden_messages(&text, manifest.pair).map_err(|line| {
                anyhow::anyhow!("{}:{line}: no tab, and the model reads two texts", path.display())
            })?;
            anyhow::ensure!(!golden.is_empty(), "{} holds no message", path.display());
            golden
        }
        None => Vec::new(),
    };
    let bits = if args.embedding_bits == "4" { quantize::Bits::Four } else { quantize::Bits::Eight };
    let folder = || args.checkpoint.display().to_string();
    let onnx = match args.fp32 {
        true => export::fp32(&checkpoint).with_context(folder)?,
        false => {
            let mut quantized = quantize::quantize(&checkpoint, bits).with_context(folder)?;
            let all: Vec<String> = quantized.linear().map(String::from).collect();
            for end in &args.half {
                let mut names = all.iter().map(String::as_str).filter(|name| name.ends_with(end)).peekable();
                if names.peek().is_none() {
                    bail!("no matrix of a linear layer has a name that ends with {end}");
                }
                quantized.widen(&checkpoint, names);
            }
            export::int8(&quantized)
        }
    };
    let bytes = export::pack(&manifest, onnx, &checkpoint.tokenizer.vocab, &golden).with_context(folder)?;
    goldcrest_edge::bundle::save(&args.output, &bytes).with_context(|| args.output.display().to_string())?;
    let size = bytes.len();
    if !args.fp32 {
        let packed = goldcrest_edge::Classifier::new(bytes, &goldcrest_edge::Options::default())?;
        if let Some(why) = packed.model().describe().stock {
            tell!(
                "the device runs it on stock operators, slower and with other bits on other processors: {why}"
            );
        }
    }
    say!("{} {size} bytes", args.output.display());
    Ok(())
}
