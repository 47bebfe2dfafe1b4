use anyhow::Context;
use goldcrest::bert::{Batch, Classifier, Mode, Tape};
use goldcrest::data::Task;
use goldcrest::train::{Reader, mean_of_windows};
use std::io::{BufRead, Write};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Example:
  echo 'turn on the light' | goldcrest predict runs/voice/student --logits")]
pub struct Args {
    /// A checkpoint folder
    checkpoint: PathBuf,
    /// Texts, one per line; `-`, or no file, means stdin
    files: Vec<PathBuf>,
    /// Longest input in word pieces [default: as it was trained, else 512]
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=512))]
    max_tokens: Option<u32>,
    /// Two texts per line, separated by a tab; implied if the checkpoint reads pairs
    #[arg(long)]
    pairs: bool,
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
    let model = Classifier::trained(checkpoint)?;
    let input = super::input_format(model.config(), args.max_tokens, args.pairs, None, 512)?;
    let pairs = input.pairs;
    let (labels, task) = (model.config().labels(), model.config().task());
    let mut reader = Reader::new(model.tokenizer(), input)?;
    let mut tape = Tape::default();
    let mut out = std::io::stdout().lock();
    let mut n = 0u64;
    let mut classify = |line: &[u8]| -> anyhow::Result<()> {
        n += 1;
        let line = match std::str::from_utf8(line) {
            Ok(line) => line,
            Err(error) => {
                let error = format!("byte {} is not valid UTF-8", error.valid_up_to());
                return Ok(writeln!(out, "{}", serde_json::json!({"n": n, "error": error}))?);
            }
        };
        let (text, pair) = match line.split_once('\t') {
            Some((text, pair)) if pairs => (text, Some(pair)),
            None if pairs => {
                let error = "no tab between two texts";
                return Ok(writeln!(out, "{}", serde_json::json!({"n": n, "error": error}))?);
            }
            _ => (line, None),
        };
        let (inputs, truncated) = reader.read(text, pair)?;
        let mut said = Vec::with_capacity(inputs.len());
        for input in &inputs {
            let batch = Batch::new([input].into_iter(), model.config().pad_token_id as u32);
            said.push(model.forward(&batch, Mode::Evaluate, &mut tape)?.logits.clone());
        }
        let logits = mean_of_windows(said.iter().map(Vec::as_slice));
        anyhow::ensure!(
            logits.iter().all(|logit| logit.is_finite()),
            "text {n}: the answer of {} is not a number: its weights are damaged or far too large",
            args.checkpoint.display()
        );
        let mut record = answer(&logits, &labels, task);
        record["n"] = n.into();
        // as the device counts them: tokens shared by two windows count once
        let shared = 2 + input.windows.map_or(0, |windows| windows.overlap as usize);
        let all: usize = inputs.iter().map(|input| input.ids.len()).sum();
        record["tokens"] = (all - shared * (inputs.len() - 1)).into();
        if truncated {
            record["truncated"] = true.into();
        }
        if args.logits {
            record["logits"] = logits.iter().map(|x| format!("{:08x}", x.to_bits())).collect();
        }
        Ok(writeln!(out, "{record}")?)
    };
    let stdin = [PathBuf::from("-")];
    for path in if args.files.is_empty() { &stdin[..] } else { &args.files } {
        let name = || if path.as_os_str() == "-" { "stdin".into() } else { path.display().to_string() };
        let lines: Box<dyn BufRead> = match path.as_os_str() == "-" {
            true => Box::new(std::io::stdin().lock()),
            false => Box::new(std::io::BufReader::new(std::fs::File::open(path).with_context(name)?)),
        };
        for line in lines.split(b'\n') {
            classify(without_return(&line.with_context(name)?))?;
        }
    }
    Ok(())
}

/// Strips the carriage return of a Windows line end.
fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn answer(logits: &[f32], labels: &[String], task: Task) -> serde_json::Value {
    let sigmoid = |x: f32| 1.0 / (1.0 + (-f64::from(x)).exp());
    match task {
        Task::Regression if labels.len() == 1 => serde_json::json!({"n": 0, "score": logits[0]}),
        Task::Regression => {
            let number = |(label, number)| serde_json::json!({"label": label, "score": number});
            let numbers: Vec<_> = labels.iter().zip(logits).map(number).collect();
            serde_json::json!({"n": 0, "scores": numbers})
        }
        Task::MultiLabel => {
            let mut given: Vec<_> = logits.iter().zip(labels).filter(|(x, _)| **x >= 0.0).collect();
            given.sort_by(|a, b| b.0.total_cmp(a.0));
            let given: Vec<_> = given
                .into_iter()
                .map(|(x, label)| serde_json::json!({"label": label, "score": sigmoid(*x)}))
                .collect();
            serde_json::json!({"n": 0, "labels": given})
        }
        Task::SingleLabel => {
            let best = (0..logits.len()).rev().max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap_or(0);
            let sum: f64 = logits.iter().map(|x| f64::from(x - logits[best]).exp()).sum();
            serde_json::json!({"n": 0, "label": labels[best], "score": 1.0 / sum})
        }
    }
}
