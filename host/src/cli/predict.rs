use anyhow::Context;
use goldcrest::bert::{Batch, Classifier, Mode, ProblemType, Tape, Tokens};
use goldcrest_edge::tokenizer::{Encoding, Tokenizer};
use std::io::{BufRead, Write};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Example:
  echo 'turn on the light' | goldcrest predict runs/voice/student --logits")]
pub struct Args {
    /// A checkpoint folder
    checkpoint: PathBuf,
    /// Texts, one a line; stdin when none is given
    files: Vec<PathBuf>,
    /// Longest input in word pieces
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(3..=512))]
    max_tokens: u32,
    /// Two texts a line with a tab between; where the checkpoint says that it compares pairs, always
    #[arg(long)]
    pairs: bool,
    /// Add the logits, each as the 8 hex digits of its f32
    #[arg(long)]
    logits: bool,
}

/// One JSON record a line, as `goldcrest-edge classify --format jsonl` writes them.
pub fn run(args: &Args) -> anyhow::Result<()> {
    super::use_threads(None);
    let checkpoint = super::load_checkpoint(&args.checkpoint)?;
    anyhow::ensure!(
        checkpoint.tensors.contains_key("classifier.weight"),
        "{} has no classifier: train one first (goldcrest run)",
        args.checkpoint.display()
    );
    let model = Classifier::new(checkpoint, 0)?;
    // one that started from a base that compares pairs says so
    let pairs = args.pairs || model.config().compares_pairs;
    let (labels, problem) = (model.config().labels(), model.config().problem());
    let tokenizer = Tokenizer::new(model.tokenizer().vocab.as_bytes(), model.tokenizer().settings())?;
    let max_tokens = (args.max_tokens as usize).min(model.config().max_position_embeddings);
    let mut encoding = Box::<Encoding>::default();
    let mut tape = Tape::default();
    let mut out = std::io::stdout().lock();
    let mut n = 0u64;
    let mut classify = |line: &[u8]| -> anyhow::Result<()> {
        n += 1;
        let Ok(line) = std::str::from_utf8(line) else {
            let error = "not valid UTF-8";
            return Ok(writeln!(out, "{}", serde_json::json!({"n": n, "error": error}))?);
        };
        let (text, pair) = match line.split_once('\t') {
            Some((text, pair)) if pairs => (text, Some(pair)),
            None if pairs => {
                let error = "no tab between two texts";
                return Ok(writeln!(out, "{}", serde_json::json!({"n": n, "error": error}))?);
            }
            _ => (line, None),
        };
        tokenizer.encode(text, pair, max_tokens, &mut encoding)?;
        let tokens = Tokens { ids: encoding.ids().to_vec(), type_ids: encoding.type_ids().to_vec() };
        let batch = Batch::new([&tokens].into_iter(), model.config().pad_token_id as u32);
        let logits = &model.forward(&batch, Mode::Evaluate, &mut tape)?.logits;
        let mut record = answer(logits, &labels, problem);
        record["n"] = n.into();
        record["tokens"] = tokens.ids.len().into();
        if args.logits {
            record["logits"] = logits.iter().map(|x| format!("{:08x}", x.to_bits())).collect();
        }
        Ok(writeln!(out, "{record}")?)
    };
    if args.files.is_empty() {
        for line in std::io::stdin().lock().split(b'\n') {
            classify(without_return(&line.context("stdin")?))?;
        }
    }
    for path in &args.files {
        let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        for line in std::io::BufReader::new(file).split(b'\n') {
            classify(without_return(&line.with_context(|| path.display().to_string())?))?;
        }
    }
    Ok(())
}

/// A line of a file from Windows as one of any other.
fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn answer(logits: &[f32], labels: &[String], problem: ProblemType) -> serde_json::Value {
    let sigmoid = |x: f32| 1.0 / (1.0 + (-f64::from(x)).exp());
    match problem {
        ProblemType::Regression => serde_json::json!({"n": 0, "score": logits[0]}),
        ProblemType::MultiLabelClassification => {
            let mut given: Vec<_> = logits.iter().zip(labels).filter(|(x, _)| **x >= 0.0).collect();
            given.sort_by(|a, b| b.0.total_cmp(a.0));
            let given: Vec<_> = given
                .into_iter()
                .map(|(x, label)| serde_json::json!({"label": label, "score": sigmoid(*x)}))
                .collect();
            serde_json::json!({"n": 0, "labels": given})
        }
        ProblemType::SingleLabelClassification => {
            let best = (0..logits.len()).rev().max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap_or(0);
            let sum: f64 = logits.iter().map(|x| f64::from(x - logits[best]).exp()).sum();
            serde_json::json!({"n": 0, "label": labels[best], "score": 1.0 / sum})
        }
    }
}
