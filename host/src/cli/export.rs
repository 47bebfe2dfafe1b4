use super::data_args::Reading;
use anyhow::Context;
use goldcrest::bert::{Checkpoint, Classifier, InputOptions};
use goldcrest::data::{Dataset, Labels, Source, Task};
use goldcrest::metrics::{Metric, measure, thresholds};
use goldcrest::quantize::{Bits, Quantized};
use goldcrest::train::{Encoded, predict};
use goldcrest::{export, quantize};
use goldcrest_edge::tokenizer::capacity::MAX_TOKENS;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  goldcrest quantize runs/voice/student -o voice.int8.onnx
  goldcrest quantize runs/voice/student --sensitivity messages.csv")]
pub struct QuantizeArgs {
    /// A checkpoint folder
    checkpoint: PathBuf,
    /// Labelled texts; also shows how rounding each matrix by itself affects the answers
    #[arg(long, value_name = "DATA")]
    sensitivity: Option<PathBuf>,
    /// The ONNX file to write
    #[arg(short, long, default_value = "model.int8.onnx")]
    output: PathBuf,
    #[command(flatten)]
    reading: Reading,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  goldcrest export runs/voice/student -o voice.onnx
  goldcrest export runs/voice/student --int8 -o voice.int8.onnx")]
pub struct ExportArgs {
    /// A checkpoint folder
    checkpoint: PathBuf,
    /// Quantize to int8
    #[arg(long)]
    int8: bool,
    /// The ONNX file to write
    #[arg(short, long, default_value = "model.onnx")]
    output: PathBuf,
}

pub fn quantize(args: &QuantizeArgs) -> anyhow::Result<()> {
    if args.sensitivity.is_none() && args.reading.says_how_to_read() {
        return Err(super::Usage("options that say how texts are read go with --sensitivity".into()).into());
    }
    let checkpoint = super::load_checkpoint(&args.checkpoint)?;
    super::check_output(
        &args.output,
        [args.checkpoint.as_path()].into_iter().chain(args.sensitivity.as_deref()),
    )?;
    let texts = args.sensitivity.as_ref().map(|path| labelled(&checkpoint, &args.reading.source(path)));
    let texts = texts.transpose()?;
    let folder = || args.checkpoint.display().to_string();
    let quantized = quantize::quantize(&checkpoint, quantize::Bits::Eight).with_context(folder)?;
    // before anything is printed: nobody may be reading
    let written = write(&args.output, &export::int8_unsigned(&quantized).to_bytes())?;
    say!("{:<60} {:>12} {:>12}", "matrix", "values", "error");
    for (name, matrix) in &quantized.matrices {
        let (exact, rounded) = (&checkpoint.tensors[name].data, matrix.dequantized().data);
        let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let error =
            norm(&mut exact.iter().zip(&rounded).map(|(a, b)| a - b)) / norm(&mut exact.iter().copied());
        say!("{name:<60} {:>12} {:>10.3} %", exact.len(), error * 100.0);
    }
    if let Some(data) = texts {
        sensitivity(checkpoint, data, &quantized)?;
    }
    say!("{written}");
    Ok(())
}

/// Reads texts with the labels of a checkpoint.
fn labelled(checkpoint: &Checkpoint, data: &Source) -> anyhow::Result<Dataset> {
    let labels = Some(Labels::ordered(checkpoint.config.labels())?);
    Ok(Dataset::read_to_measure(std::slice::from_ref(data), Some(checkpoint.config.task()), labels)?)
}

/// Prints, for each matrix, the metric and the average change of the logits if only that matrix and its
/// inputs are rounded.
fn sensitivity(checkpoint: Checkpoint, data: Dataset, quantized: &Quantized) -> anyhow::Result<()> {
    super::say_reading(&data);
    let task = data.task;
    let metric = Metric::of(data.task);
    // an ordinary checkpoint does not say that it reads pairs
    let asked = InputOptions { pairs: data.is_paired(), ..InputOptions::default() };
    let input = checkpoint.config.input_format(asked, MAX_TOKENS)?;
    let texts = Encoded::with_format(data, &checkpoint.tokenizer, input)?;
    let mut model = Classifier::trained(checkpoint)?;
    let exact = texts.of_examples(predict(&model, &texts, &mut |_| ())?);
    // multi-label: the thresholds that a bundle would get
    let thresholds = (task == Task::MultiLabel).then(|| thresholds(&texts.data, &exact));
    let points = |logits: &[f32]| -> anyhow::Result<f64> {
        Ok(measure(&texts.data, logits, thresholds.as_deref())?.get(metric).unwrap_or(f64::NAN) * 100.0)
    };
    let whole = points(&exact)?;
    say!("\n{:<60} {:>12} {:>12}", format!("rounded alone; {metric} is {whole:.2}"), "points", "logits move");
    for name in quantized.matrices.keys() {
        let alone = quantize::sensitivity(&mut model, name, Bits::Eight, &texts, &exact)?;
        say!("{name:<60} {:>+12.2} {:>12.5}", points(&alone.logits)? - whole, alone.moved);
    }
    Ok(())
}

pub fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let checkpoint = super::load_checkpoint(&args.checkpoint)?;
    super::check_output(&args.output, [args.checkpoint.as_path()])?;
    let onnx = match args.int8 {
        true => {
            quantize::quantize(&checkpoint, quantize::Bits::Eight).map(|model| export::int8_unsigned(&model))
        }
        false => export::fp32(&checkpoint),
    };
    let onnx = onnx.with_context(|| args.checkpoint.display().to_string())?;
    say!("{}", write(&args.output, &onnx.to_bytes())?);
    Ok(())
}

/// Writes a file and returns what to say about it.
fn write(path: &std::path::Path, bytes: &[u8]) -> anyhow::Result<String> {
    goldcrest_edge::bundle::save(path, bytes).with_context(|| path.display().to_string())?;
    Ok(format!("{} {} bytes", path.display(), bytes.len()))
}
