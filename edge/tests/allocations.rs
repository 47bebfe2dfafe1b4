//! Splitting into lines, the tokenizer, the decision and the records allocate nothing after construction.
mod common;

use goldcrest_edge::Classifier;
use goldcrest_edge::bundle::{Bundle, Manifest, Windows};
use goldcrest_edge::classifier::{Classify, Error, Input, Outcome};
use goldcrest_edge::decision::{Decider, Settings, Task};
use goldcrest_edge::stream::{Format, Interrupt, Lines, Options, Records, Sink, ThreadedRecords};
use goldcrest_edge::tokenizer::{self, Encoder, Encoding, Tokenizer};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::io;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Returns the number of allocations since the program began.
fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// A classifier without its model: the logits are the counts of `bad` and `good`.
struct WithoutModel {
    labels: [String; 2],
    tokenizer: Tokenizer<String>,
    encoding: Encoding,
    decider: Decider,
    logits: [f32; 2],
}

struct Whole<'a>(Encoder<'a>);

impl Input for Whole<'_> {
    fn push(&mut self, chunk: &str) {
        self.0.push(chunk);
    }
    fn second_text(&mut self) {
        let _ = self.0.begin_second();
    }
}

impl Classify for WithoutModel {
    fn classify_chunks<E>(
        &mut self,
        feed: &mut dyn FnMut(&mut dyn Input) -> Result<(), E>,
    ) -> Result<Result<Outcome<'_>, Error>, E> {
        let mut input = Whole(self.tokenizer.encoder(32, &mut self.encoding).unwrap());
        feed(&mut input)?;
        input.0.finish();
        let ids = self.encoding.ids();
        self.logits = [5, 4].map(|id| ids.iter().filter(|&&i| i == id).count() as f32);
        let decision = self.decider.decide(&self.logits).unwrap();
        let (labels, logits) = (&self.labels[..], &self.logits[..]);
        Ok(Ok(Outcome { labels, logits, decision, tokens: ids.len(), truncated: false }))
    }
}

fn count_without_model(task: Task, options: Options, input: &str) -> usize {
    let classifier = WithoutModel {
        labels: ["\"quoted\" and\\escaped".to_owned(), "plain".to_owned()],
        tokenizer: Tokenizer::new(common::vocabulary(), tokenizer::Settings::uncased()).unwrap(),
        encoding: Encoding::new(),
        decider: Decider::new(task, 2, &Settings::default()).unwrap(),
        logits: [0.0; 2],
    };
    count(classifier, options, input.as_bytes())
}

fn count(classifier: impl Classify, options: Options, input: &[u8]) -> usize {
    let out = io::BufWriter::with_capacity(64 << 10, io::sink());
    count_into(Records::new(classifier, out, options), b"good\n", input)
}

/// Counts allocations for `input`. `first` is processed before, because threads
/// allocate once at the beginning.
fn count_into(mut sink: impl Sink, mut first: &[u8], mut input: &[u8]) -> usize {
    let (mut lines, interrupt) = (Lines::default(), Interrupt::default());
    lines.run(&mut first, &mut sink, &interrupt).unwrap();
    let before = allocations();
    lines.run(&mut input, &mut sink, &interrupt).unwrap();
    allocations() - before
}

fn main() {
    assert!(allocations() > 0, "the counter counts");
    let input =
        "good day, b\u{e4}d\n\n\u{1f980}\u{4e2d}\ngood\tbad\n".repeat(1000) + &"good bad ".repeat(100_000);
    let jsonl = Options { format: Format::Jsonl, top: 2, logits: true, separator: None };
    for task in [Task::SingleLabel, Task::MultiLabel] {
        for options in [jsonl, Options::default(), Options { separator: Some('\t'), ..jsonl }] {
            assert_eq!(count_without_model(task, options, &input), 0, "{task} {options:?}");
        }
    }
    // with the model too, if a bundle with a fused one is available
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/sentiment/sentiment.bundle");
    let path = std::env::var("GOLDCREST_TEST_BUNDLE").unwrap_or(shipped.into());
    if !std::path::Path::new(&path).exists() {
        println!("skipped with a model: {path} is missing; GOLDCREST_TEST_BUNDLE names another");
        return;
    }
    let classifier = Classifier::open(&path, &goldcrest_edge::Options::default()).unwrap();
    assert_eq!(classifier.model().describe().stock, None, "{path} is not fused");
    let mut input = "good day, b\u{e4}d\n\n\u{1f980}\u{4e2d}\ngood\tbad\n".repeat(5).into_bytes();
    input.extend(b"not \xff UTF-8\n".iter().chain("good bad ".repeat(1000).as_bytes()));
    assert_eq!(count(classifier, jsonl, &input), 0);
    // on several threads too, with a backlog and with split texts; `first` is shorter than what is counted
    let first = "good\n".repeat(20) + &"good ".repeat(70);
    for windows in [Windows::Truncate, Windows::Mean { overlap: 8, most: 5 }] {
        let mut threaded = with_windows(&path, windows).into_threaded(3).unwrap();
        let out = io::BufWriter::with_capacity(64 << 10, io::sink());
        let backlog = ThreadedRecords::new(&mut threaded, out, jsonl);
        assert_eq!(count_into(backlog, first.as_bytes(), &input), 0, "{windows:?}");
    }
}

/// Loads the bundle at `path`, changed to read long texts in these windows.
fn with_windows(path: &str, windows: Windows) -> Classifier {
    let bytes = std::fs::read(path).unwrap();
    let bundle = Bundle::read(&bytes).unwrap();
    let manifest = Manifest { windows, ..bundle.manifest().clone() };
    let (model, external, vocabulary) = (bundle.model(), bundle.external(), bundle.vocabulary());
    let bytes = goldcrest_edge::bundle::write(&manifest, model, external, vocabulary, &[]).unwrap();
    Classifier::new(bytes, &goldcrest_edge::Options::default()).unwrap()
}
