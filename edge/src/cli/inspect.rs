//! `goldcrest-edge inspect`
use super::bundle::ModelArgs;
use super::{MAX_THREADS, print};
use anyhow::{Context, Result};
use goldcrest_edge::Classifier;
use goldcrest_edge::bundle::{Bundle, Manifest, Windows};
use goldcrest_edge::decision::Abstention;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Show what a bundle holds and which parts of its model are fused
///
/// Prints the manifest, the sections with their sizes, which parts of the model are fused, and the maximum
/// memory. The memory of models that run on tract's own operators is not known and not printed.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Number of threads for which to state the memory
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    threads: u16,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Maximum bytes of the program, its libraries and its buffers. The device's program takes half of it; of a
/// larger one, Linux loads only the pages around those in use. Not included: the heap of the model, and the
/// pages of the bundle that are read in place, which the system may reclaim.
const PROGRAM: usize = 16 << 20;
/// Maximum bytes of each further thread: its stack and the texts in work.
const THREAD: usize = 256 << 10;

const EXAMPLES: &str = "\
Examples:
  goldcrest-edge inspect --bundle commands.bundle
  goldcrest-edge inspect --json | jq .labels";

pub fn run(args: &Args) -> Result<()> {
    let opened = args.model.bundle.open()?;
    let bundle = args.model.bundle.read(&opened)?;
    let classifier = args.model.bundle.load(&bundle, &opened, &args.model.options())?;
    let golden = bundle.golden().with_context(|| args.model.bundle.name())?.len();
    let value = describe(&bundle, golden, &classifier, args.threads.into());
    print(&if args.json { format!("{value}\n") } else { table(&value) })
}

fn describe(bundle: &Bundle<'_>, golden: usize, classifier: &Classifier, threads: usize) -> Value {
    let Manifest {
        name,
        version,
        task,
        pair,
        labels,
        tokenizer,
        max_tokens,
        windows,
        decision,
        measured,
        licence,
        created_by,
    } = bundle.manifest();
    let sections: serde_json::Map<_, _> =
        bundle.sections().iter().map(|(name, bytes)| (name.to_string(), bytes.len().into())).collect();
    let measured: Vec<_> = measured
        .iter()
        .map(|m| {
            let data = hex(&m.data_sha256);
            json!({"metric": m.metric, "fp32": m.fp32, "int8": m.int8, "rows": m.rows, "data_sha256": data})
        })
        .collect();
    let model = classifier.model().describe();
    let heap = model.memory.map(|memory| {
        let shared = match threads {
            1 => 0,
            _ => classifier.model().exchange(threads).map_or(0, |exchange| exchange.bytes()),
        };
        memory.weights
            + threads * memory.scratch
            + shared
            + classifier.tokenizer().index_bytes()
            + bundle.vocabulary().len()
    });
    let peak = heap.zip(model.memory).map(|(heap, memory)| {
        let read_in_place = (bundle.size() as usize).saturating_sub(memory.copied);
        // tensors inside the protobuf exist twice while loading
        let loading = memory.loading + bundle.model().len();
        PROGRAM + (threads - 1) * THREAD + heap + read_in_place + loading
    });
    json!({
        "name": name,
        "version": version,
        "task": task.to_string(),
        "pair": pair,
        "labels": labels,
        "tokenizer": tokenizer,
        "vocabulary": classifier.tokenizer().vocab_size(),
        "max_tokens": max_tokens,
        "windows": match windows {
            Windows::Truncate => Value::Null,
            Windows::Mean { overlap, most } => json!({"overlap": overlap, "most": most}),
        },
        "decision": {
            "temperature": decision.temperature,
            "thresholds": decision.thresholds,
            "abstain_below": match decision.abstention {
                Abstention::Never => Value::Null,
                Abstention::Probability(least) => json!({"probability": least}),
                Abstention::Energy(least) => json!({"energy": least}),
            },
        },
        "measured": measured,
        "licence": {"base_model": licence.base_model, "data": licence.data},
        "created_by": created_by,
        "model": {
            "fused": model.fused,
            "stock": model.stock,
            "weights_bytes": model.memory.map(|memory| memory.weights),
            "scratch_bytes": model.memory.map(|memory| memory.scratch),
        },
        "memory": {
            "threads": threads,
            "heap_bytes": heap,
            "peak_bytes": peak,
        },
        "golden": golden,
        "sections": sections,
        "bytes": bundle.size(),
        "digest": hex(&bundle.digest()),
    })
}

/// Formats one field per line, with nested names joined by dots.
fn table(value: &Value) -> String {
    let mut out = String::new();
    lines(&mut out, "", value);
    out
}

fn lines(out: &mut String, name: &str, value: &Value) {
    let dot = if name.is_empty() { "" } else { "." };
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(field, value)| lines(out, &format!("{name}{dot}{field}"), value));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().for_each(|(i, value)| lines(out, &format!("{name}{dot}{i}"), value));
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(plain).collect();
            let _ = writeln!(out, "{name:<24} {}", items.join(", "));
        }
        Value::Null => {}
        other => {
            let _ = writeln!(out, "{name:<24} {}", plain(other));
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| text.replace(char::is_control, " "))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
