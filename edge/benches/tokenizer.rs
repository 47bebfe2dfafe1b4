//! Encoding of texts, compared with Hugging Face `tokenizers`, and the cost of opening a vocabulary.
//!
//! Uses the real vocabulary and data if they are available, otherwise synthetic ones.
#[path = "../tests/tokenizer_common/mod.rs"]
mod tokenizer_common;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use goldcrest_edge::tokenizer::{Encoding, Settings, Tokenizer};
use tokenizer_common::*;

/// Returns whole lines of each file, half a megabyte at most.
fn texts() -> Vec<(String, Vec<String>)> {
    let mut sets = Vec::new();
    for (path, text) in real_data() {
        let name = format!(
            "{}/{}",
            path.parent().unwrap().file_name().unwrap().display(),
            path.file_stem().unwrap().display()
        );
        let mut size = 0;
        let lines = text.lines().take_while(|line| {
            size += line.len();
            size < 500_000
        });
        if name.ends_with("train") {
            sets.push((name, lines.map(String::from).collect()));
        }
    }
    let mixed: Vec<char> = ALPHABET.chars().collect();
    let line = |i: usize| (0..200).map(|j| mixed[(i * 31 + j * j * 17) % mixed.len()]).collect();
    sets.push(("mixed scripts".into(), (0..500).map(line).collect()));
    sets
}

fn encode(c: &mut Criterion) {
    let vocab = real_vocab();
    let oracle = hugging_face(&vocab, Settings::uncased());
    let ours = Tokenizer::new(&vocab, Settings::uncased()).unwrap();
    let mut encoding = Encoding::new();
    let mut group = c.benchmark_group("encode");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for (name, lines) in texts() {
        group.throughput(Throughput::Bytes(lines.iter().map(|line| line.len() as u64).sum()));
        group.bench_with_input(BenchmarkId::new("goldcrest", &name), &lines, |b, lines| {
            b.iter(|| {
                lines.iter().for_each(|line| ours.encode(black_box(line), None, 512, &mut encoding).unwrap())
            });
        });
        group.bench_with_input(BenchmarkId::new("tokenizers", &name), &lines, |b, lines| {
            b.iter(|| {
                lines.iter().for_each(|line| drop(black_box(oracle.encode(line.as_str(), true).unwrap())))
            });
        });
    }
}

fn open(c: &mut Criterion) {
    let vocab = real_vocab();
    let tokenizer = Tokenizer::new(&vocab, Settings::uncased()).unwrap();
    println!("{} pieces: index of {} bytes", tokenizer.vocab_size(), tokenizer.index_bytes());
    c.bench_function("open", |b| b.iter(|| Tokenizer::new(black_box(&vocab), Settings::uncased()).unwrap()));
}

criterion_group!(benches, open, encode);
criterion_main!(benches);
