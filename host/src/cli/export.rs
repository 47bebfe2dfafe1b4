use anyhow::Context;
use goldcrest::bert::Checkpoint;
use goldcrest::{export, quantize};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct QuantizeArgs {
    /// A checkpoint folder
    checkpoint: PathBuf,
    /// The ONNX file to write
    #[arg(short, long, default_value = "model.int8.onnx")]
    output: PathBuf,
}

#[derive(clap::Args)]
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
    let checkpoint = Checkpoint::load(&args.checkpoint)?;
    let quantized = quantize::quantize(&checkpoint, quantize::Bits::Eight)?;
    println!("{:<60} {:>12} {:>12}", "matrix", "values", "error");
    for (name, matrix) in &quantized.matrices {
        let (exact, rounded) = (&checkpoint.tensors[name].data, matrix.dequantized().data);
        let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let error =
            norm(&mut exact.iter().zip(&rounded).map(|(a, b)| a - b)) / norm(&mut exact.iter().copied());
        println!("{name:<60} {:>12} {:>10.3} %", exact.len(), error * 100.0);
    }
    write(&args.output, &export::int8(&quantized).to_bytes())
}

pub fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::load(&args.checkpoint)?;
    let onnx = if args.int8 {
        export::int8(&quantize::quantize(&checkpoint, quantize::Bits::Eight)?)
    } else {
        export::fp32(&checkpoint)?
    };
    write(&args.output, &onnx.to_bytes())
}

fn write(path: &std::path::Path, bytes: &[u8]) -> anyhow::Result<()> {
    goldcrest_edge::bundle::save(path, bytes).with_context(|| path.display().to_string())?;
    println!("{} {} bytes", path.display(), bytes.len());
    Ok(())
}
