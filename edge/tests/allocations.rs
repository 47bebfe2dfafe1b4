//! Splitting into lines, tokenizer, model, decision and records allocate nothing once a classifier is loaded. What cannot
//! be loaded does not fill the memory before it is refused.
mod common;

use common::{altered, shipped};
use goldcrest_edge::Classifier;
use goldcrest_edge::bundle::{Bundle, Manifest, Windows, write};
use goldcrest_edge::decision::{Abstention, Settings, Task};
use goldcrest_edge::stream::{Format, Interrupt, Lines, Options, Records, Sink, ThreadedRecords};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::io;
use std::path::Path;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Returns the number of allocations since the program began.
fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// Returns the number of bytes allocated since the program began, including those that were freed again.
fn allocated_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated + stats.bytes_reallocated.max(0) as usize
}

/// Loads the shipped model with a changed manifest from memory.
fn classifier(alter: impl FnOnce(&mut Manifest)) -> Classifier {
    let bytes = altered(&shipped(), alter);
    let classifier = Classifier::new(bytes, &goldcrest_edge::Options::default()).unwrap();
    assert_eq!(classifier.model().describe().stock, None, "it is fused");
    classifier
}

/// Loads the shipped model from a file in `folder`.
fn opened(folder: &Path, alter: impl FnOnce(&mut Manifest)) -> Classifier {
    let path = folder.join("bundle");
    std::fs::write(&path, altered(&shipped(), alter)).unwrap();
    let classifier = Classifier::open(&path, &goldcrest_edge::Options::default()).unwrap();
    assert_eq!(classifier.model().describe().stock, None, "it is fused");
    classifier
}

/// Counts allocations for `input`. `first` is processed before, because threads
/// allocate once at the beginning.
fn count(mut sink: impl Sink, mut first: &[u8], mut input: &[u8]) -> usize {
    let (mut lines, interrupt) = (Lines::default(), Interrupt::new().unwrap());
    lines.run(&mut first, &mut sink, &interrupt).unwrap();
    let before = allocations();
    lines.run(&mut input, &mut sink, &interrupt).unwrap();
    allocations() - before
}

fn out() -> impl io::Write {
    io::BufWriter::with_capacity(64 << 10, io::sink())
}

fn main() {
    assert!(allocations() > 0, "the counter counts");
    let mut input = "good day, b\u{e4}d\n\n\u{1f980}\u{4e2d}\ngood\tbad\n".repeat(50).into_bytes();
    input.extend(b"not \xff UTF-8\n".iter().chain("good bad ".repeat(100_000).as_bytes()));
    let jsonl = Options { format: Format::Jsonl, top: 2, logits: true, separator: None };
    let usual = Settings::default;
    for (task, decision) in [
        (Task::SingleLabel, usual()),
        (Task::SingleLabel, Settings { abstention: Abstention::Probability(0.9), ..usual() }),
        (Task::SingleLabel, Settings { abstention: Abstention::Energy(1.0), temperature: 1.5, ..usual() }),
        (Task::MultiLabel, Settings { thresholds: vec![0.2, 0.9], ..usual() }),
        (Task::Regression, usual()),
    ] {
        let alter = |manifest: &mut Manifest| {
            (manifest.task, manifest.decision) = (task, decision.clone());
            manifest.labels[0] = "\"quoted\" and\\escaped".to_owned();
        };
        let pairs = |manifest: &mut Manifest| {
            alter(manifest);
            manifest.pair = true;
        };
        for options in [jsonl, Options::default()] {
            let records = Records::new(classifier(alter), out(), options);
            assert_eq!(count(records, b"good\n", &input), 0, "{decision:?} {options:?}");
        }
        let records = Records::new(classifier(pairs), out(), Options { separator: Some('\t'), ..jsonl });
        assert_eq!(count(records, b"good\tbad\n", &input), 0, "{task}, pairs");
    }
    // on several threads too, with a backlog and with split texts; `first` is shorter than what is counted
    let first = "good\n".repeat(20) + &"good ".repeat(70);
    for windows in [Windows::Truncate, Windows::Mean { overlap: 8, most: 5 }] {
        let mut threaded = classifier(|manifest| manifest.windows = windows).into_threaded(3).unwrap();
        let backlog = ThreadedRecords::new(&mut threaded, out(), jsonl);
        assert_eq!(count(backlog, first.as_bytes(), &input), 0, "{windows:?}");
    }
    // from a file, which is checked before each answer
    let folder = tempfile::tempdir().unwrap();
    let records = Records::new(opened(folder.path(), |_| ()), out(), jsonl);
    assert_eq!(count(records, b"good\n", &input), 0, "mapped");
    let windows = Windows::Mean { overlap: 8, most: 5 };
    let mapped = opened(folder.path(), |manifest| manifest.windows = windows);
    let mut threaded = mapped.into_threaded(3).unwrap();
    let backlog = ThreadedRecords::new(&mut threaded, out(), jsonl);
    assert_eq!(count(backlog, first.as_bytes(), &input), 0, "mapped, on threads");
    drop(threaded);

    crafted_graphs_are_refused_in_little_memory();
}

/// Decoded, each of the attributes of two bytes would take more than a kilobyte.
fn crafted_graphs_are_refused_in_little_memory() {
    // a graph with one node that has all the attributes
    let attributes = [0x2a, 0].repeat(1_000_000);
    let message = |tag: u8, content: &[u8]| {
        let mut length = content.len();
        let mut bytes = vec![tag];
        while length > 0x7f {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        [&bytes, content].concat()
    };
    let model = message(0x3a, &message(0x0a, &attributes));
    let bytes = shipped();
    let shipped = Bundle::read(&bytes).unwrap();
    let crafted = write(shipped.manifest(), &model, &[], shipped.vocabulary(), &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crafted.bundle");
    std::fs::write(&path, &crafted).unwrap();
    let before = allocated_bytes();
    let error = Classifier::open(&path, &goldcrest_edge::Options::default()).unwrap_err().to_string();
    let allocated = allocated_bytes() - before;
    assert!(error.starts_with(&path.display().to_string()) && error.contains("model.onnx"), "{error}");
    assert!(allocated < 2 * crafted.len(), "{allocated} bytes for a bundle of {}", crafted.len());
}
