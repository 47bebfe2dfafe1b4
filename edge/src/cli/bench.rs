//! `goldcrest-edge bench`
use super::bundle::ModelArgs;
use super::{MAX_THREADS, Usage, print};
use anyhow::{Result, bail};
use bytes::Bytes;
use goldcrest_edge::Classifier;
use goldcrest_edge::bundle::Manifest;
use goldcrest_edge::classifier::ThreadedClassifier;
use goldcrest_edge::tokenizer::{Encoding, Tokenizer};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Measure latency, load time and peak memory
///
/// Measures single texts, both the model alone and from text to answer, and with several threads also a
/// backlog of texts.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Numbers of tokens to measure, special tokens included [default: those of 8, 16, 32, 64 and 128 that
    /// the model takes]
    #[arg(long, value_delimiter = ',', value_name = "N,N,…")]
    tokens: Vec<usize>,
    /// Number of threads, used for a backlog and for texts that are long enough to split
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    threads: u16,
    /// Seconds per length; half as many again with several threads
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    seconds: f64,
    /// Print one JSON object, with all times in microseconds
    #[arg(long)]
    json: bool,
}

/// Default lengths to measure.
const LENGTHS: [usize; 5] = [8, 16, 32, 64, 128];
/// Minimum number of runs per length, however slow.
const MIN_RUNS: usize = 20;

const EXAMPLES: &str = "\
Examples:
  goldcrest-edge bench
  goldcrest-edge bench --bundle commands.bundle --tokens 8,16,32 --json | jq '.lengths[].end_to_end.p90'";

pub fn run(args: &Args) -> Result<()> {
    let seconds = Duration::try_from_secs_f64(args.seconds)
        .ok()
        .filter(|seconds| !seconds.is_zero())
        .ok_or_else(|| Usage("--seconds must be a positive number".into()))?;
    let start = Instant::now();
    let opened = args.model.bundle.open()?;
    let bundle = args.model.bundle.read(&opened)?;
    let classifier = args.model.bundle.load(&bundle, &opened, &args.model.options())?;
    let mut runner = Runner::new(classifier, args.threads.into())?;
    let load = start.elapsed();
    let max_tokens = bundle.manifest().max_tokens as usize;
    let least = bundle.manifest().least_tokens();
    let takes = least..=max_tokens;
    if let Some(tokens) = args.tokens.iter().find(|&tokens| !takes.contains(tokens)) {
        return Err(Usage(format!("--tokens {tokens}: this model takes {least} to {max_tokens}")).into());
    }
    let tokens = match args.tokens.as_slice() {
        [] => LENGTHS.into_iter().filter(|tokens| takes.contains(tokens)).collect(),
        asked => asked.to_vec(),
    };
    if tokens.is_empty() {
        return Err(Usage(format!("this model takes {least} to {max_tokens}: choose with --tokens")).into());
    }
    let words = words(bundle.vocabulary(), runner.tokenizer())?;
    let mut lengths = vec![];
    for tokens in tokens {
        lengths.push(measure(&mut runner, &words, tokens, seconds)?);
    }
    let report = json!({
        "name": bundle.manifest().name,
        "version": bundle.manifest().version,
        "threads": args.threads,
        "load": micros(load),
        "peak_memory_kib": peak_memory_kib(),
        "lengths": lengths,
    });
    print(&if args.json { format!("{report}\n") } else { table(&report) })
}

/// The classifier to measure.
enum Runner {
    One(Box<Classifier>),
    Several(Box<ThreadedClassifier>),
}

impl Runner {
    fn new(classifier: Classifier, threads: usize) -> Result<Runner> {
        Ok(match threads {
            1 => Runner::One(Box::new(classifier)),
            _ => Runner::Several(Box::new(classifier.into_threaded(threads)?)),
        })
    }

    fn manifest(&self) -> &Manifest {
        match self {
            Runner::One(classifier) => classifier.manifest(),
            Runner::Several(threaded) => threaded.manifest(),
        }
    }

    fn tokenizer(&self) -> &Tokenizer<Bytes> {
        match self {
            Runner::One(classifier) => classifier.tokenizer(),
            Runner::Several(threaded) => threaded.tokenizer(),
        }
    }

    fn run(&mut self, encoding: &Encoding, logits: &mut [f32]) -> Result<()> {
        match self {
            Runner::One(classifier) => {
                classifier.model_mut().run(encoding.ids(), encoding.type_ids(), logits)?;
            }
            Runner::Several(threaded) => threaded.models_mut().run(encoding, logits)?,
        }
        Ok(())
    }

    fn classify(&mut self, text: &str, pair: Option<&str>) -> Result<()> {
        match self {
            Runner::One(classifier) => classifier.classify(text, pair)?,
            Runner::Several(threaded) => threaded.classify(text, pair)?,
        };
        Ok(())
    }

    /// Measures the microseconds per text while others wait; `None` on one thread.
    fn backlog(&mut self, encoding: &Encoding, logits: &mut [f32], limit: Duration) -> Result<Option<f64>> {
        let Runner::Several(threaded) = self else { return Ok(None) };
        let (pool, start, mut texts) = (threaded.models_mut(), Instant::now(), 0);
        while start.elapsed() < limit || texts < MIN_RUNS {
            while pool.has_room() {
                pool.give(encoding);
            }
            pool.take(logits)?;
            texts += 1;
        }
        let time = start.elapsed();
        while !pool.is_idle() {
            pool.take(logits)?;
        }
        Ok(Some(micros(time / texts as u32)))
    }
}

/// Returns words that are single pieces, so that texts of any number of tokens can be made of them.
fn words(vocabulary: &[u8], tokenizer: &Tokenizer<Bytes>) -> Result<Vec<String>> {
    let mut encoding = Encoding::new();
    // copied before it is checked: it may be in a mapped file, which others can change
    let vocabulary = vocabulary.to_vec();
    let words: Vec<_> = String::from_utf8_lossy(&vocabulary)
        .lines()
        .filter(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
        .filter(|word| {
            let encoded = tokenizer.encode(word, None, 8, &mut encoding);
            encoded.is_ok() && encoding.ids().len() == 3
        })
        .map(str::to_owned)
        .collect();
    if words.is_empty() {
        bail!("the vocabulary has no whole words to measure with");
    }
    Ok(words)
}

fn measure(runner: &mut Runner, words: &[String], tokens: usize, limit: Duration) -> Result<Value> {
    // spread over the vocabulary, so that the embedding rows are not all in one page
    let text = |count: usize, seed: usize| {
        let words: Vec<_> = (seed..seed + count).map(|i| words[i * 7919 % words.len()].as_str()).collect();
        words.join(" ")
    };
    let (first, second) = if runner.manifest().pair {
        let half = (tokens - 3) / 2;
        (text(half, 0), Some(text(tokens - 3 - half, half)))
    } else {
        (text(tokens - 2, 0), None)
    };
    let mut encoding = Encoding::new();
    runner.tokenizer().encode(&first, second.as_deref(), tokens, &mut encoding)?;
    if encoding.ids().len() != tokens || encoding.truncated() {
        bail!("a text of {tokens} tokens came out with {}", encoding.ids().len());
    }
    let mut logits = vec![0.0; runner.manifest().labels.len()];
    let model = time(limit / 2, || runner.run(&encoding, &mut logits))?;
    let end_to_end = time(limit / 2, || runner.classify(&first, second.as_deref()))?;
    let backlog = runner.backlog(&encoding, &mut logits, limit / 2)?;
    Ok(json!({"tokens": tokens, "model": model, "end_to_end": end_to_end, "backlog": backlog}))
}

/// Returns percentiles of the time that `work` takes, after warming up for a tenth of `limit`.
fn time(limit: Duration, mut work: impl FnMut() -> Result<()>) -> Result<Value> {
    let start = Instant::now();
    let mut times = vec![];
    let mut warm = false;
    loop {
        let before = Instant::now();
        work()?;
        times.push(before.elapsed());
        if !warm && start.elapsed() > limit / 10 {
            warm = true;
            times.clear();
        }
        if warm && times.len() >= MIN_RUNS && start.elapsed() > limit {
            break;
        }
    }
    times.sort_unstable();
    // by the nearest-rank method
    let percentile = |p: usize| micros(times[(times.len() * p).div_ceil(100).saturating_sub(1)]);
    Ok(json!({
        "min": micros(times[0]),
        "p50": percentile(50),
        "p90": percentile(90),
        "p99": percentile(99),
        "runs": times.len(),
    }))
}

fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

/// Returns the peak resident memory of this process, if the system reports it.
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn table(report: &Value) -> String {
    let mut out = format!(
        "{} {}, {} thread{}\nload {} µs, peak memory {}\n\n{:>6}  {:^35}  {:^35}\n{:>6}",
        report["name"].as_str().unwrap_or_default(),
        report["version"].as_str().unwrap_or_default(),
        report["threads"],
        if report["threads"] == 1 { "" } else { "s" },
        report["load"],
        report["peak_memory_kib"].as_u64().map_or("unknown".into(), |memory| format!("{memory} KiB")),
        "",
        "model, µs",
        "end to end, µs",
        "tokens",
    );
    let columns = ["min", "p50", "p90", "p99"];
    for column in columns.iter().chain(&columns) {
        out += &format!("{column:>9}");
    }
    let several = report["threads"] != 1;
    if several {
        out += " backlog, µs/text";
    }
    for length in report["lengths"].as_array().into_iter().flatten() {
        out += &format!("\n{:>6}", length["tokens"].as_u64().unwrap_or_default());
        for part in ["model", "end_to_end"] {
            for column in columns {
                out += &format!("{:>9.1}", length[part][column].as_f64().unwrap_or_default());
            }
        }
        if several {
            out += &format!("{:>17.1}", length["backlog"].as_f64().unwrap_or_default());
        }
    }
    out + "\n"
}
