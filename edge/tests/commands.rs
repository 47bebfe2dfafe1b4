//! The commands of the real binary: what they print and how they exit.
mod common;

use common::{bundle, manifest, vocabulary, with_golden};
use goldcrest_edge::bundle::{Golden, Manifest, Windows};
use goldcrest_edge::decision::{Abstention, Task};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

struct Bench {
    folder: TempDir,
}

struct Output {
    code: i32,
    out: String,
    err: String,
}

impl Bench {
    fn new() -> Self {
        Bench { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name).to_str().unwrap().into()
    }

    fn bundle(&self, manifest: &Manifest) -> String {
        self.put("moods.bundle", bundle(manifest))
    }
}

fn run(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_goldcrest-edge"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // fails if the command does not read, in which case its exit code says more
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn assert_fails(args: &[&str], code: i32, reason: &str) {
    let output = run(args, b"");
    assert_eq!((output.code, output.out.as_str()), (code, ""), "{args:?}: {}", output.err);
    assert!(output.err.contains(reason), "{args:?}: {}", output.err);
}

#[test]
fn classify_is_the_default_command() {
    let bench = Bench::new();
    let moods = bench.bundle(&manifest());
    let expected = "{\"n\":1,\"label\":\"positive\",\"score\":0.982014,\"tokens\":3}\n\
                    {\"n\":2,\"label\":\"negative\",\"score\":0.952574,\"tokens\":4}\n";
    for command in [&["classify"][..], &[]] {
        for asked in ["--stock", "--quiet"] {
            let args = [command, &["--bundle", &moods, "--format", "jsonl", asked]].concat();
            let output = run(&args, b"good\nbad day\n");
            assert_eq!((output.code, output.out.as_str(), output.err.as_str()), (0, expected, ""));
        }
    }
    let output = run(&["--bundle", &moods], b"good\nbad day");
    assert_eq!(output.out, "positive\t0.982014\nnegative\t0.952574\n");
    // this tiny model is no BERT
    assert!(output.err.starts_with("goldcrest-edge: not fused, so slower"), "{}", output.err);
}

#[test]
fn top_and_logits_come_on_demand() {
    let bench = Bench::new();
    let moods = bench.bundle(&manifest());
    let output = run(&["--bundle", &moods, "--format", "jsonl", "--top", "2", "--logits"], b"Good");
    assert_eq!(
        output.out,
        "{\"n\":1,\"label\":\"positive\",\"score\":0.982014,\"tokens\":3,\
         \"top\":[{\"label\":\"positive\",\"score\":0.982014},{\"label\":\"negative\",\"score\":0.0179862}],\
         \"logits\":[\"c0000000\",\"40000000\"]}\n"
    );
}

#[test]
fn other_tasks_have_their_records() {
    let bench = Bench::new();
    let jsonl = |manifest: &Manifest, input: &[u8]| {
        let output = run(&["--bundle", &bench.bundle(manifest), "--format", "jsonl", "--stock"], input);
        assert_eq!(output.err, "");
        output.out
    };
    let multi = Manifest { task: Task::MultiLabel, ..manifest() };
    assert_eq!(
        jsonl(&multi, b"good"),
        "{\"n\":1,\"labels\":[{\"label\":\"positive\",\"score\":0.880797}],\"tokens\":3}\n"
    );
    assert_fails(&["--bundle", &bench.bundle(&multi), "--top", "2"], 2, "--top needs --format jsonl");
    let regression = Manifest { task: Task::Regression, labels: vec!["mood".into()], ..manifest() };
    assert_eq!(jsonl(&regression, b"good"), "{\"n\":1,\"score\":2,\"tokens\":3}\n");
    let regression = bench.bundle(&regression);
    assert_fails(&["--bundle", &regression, "--format", "jsonl", "--top", "2"], 2, "--top does not apply");
    let several = ["grief", "joy"].map(str::to_owned).to_vec();
    let several = Manifest { task: Task::Regression, labels: several, ..manifest() };
    assert_eq!(
        jsonl(&several, b"good"),
        "{\"n\":1,\"scores\":[{\"label\":\"grief\",\"score\":-2},{\"label\":\"joy\",\"score\":2}],\"tokens\":3}\n"
    );
    let several = bench.bundle(&several);
    assert_eq!(run(&["--bundle", &several], b"good\nbad").out, "grief\t-2\tjoy\t2\ngrief\t2\tjoy\t-2\n");
    assert_fails(&["--bundle", &several, "--top", "2"], 2, "--top does not apply");
    let mut abstains = manifest();
    abstains.decision.abstention = Abstention::Probability(0.97);
    assert_eq!(
        jsonl(&abstains, b"good days"),
        "{\"n\":1,\"label\":null,\"abstained\":true,\"tokens\":5,\
         \"top\":[{\"label\":\"positive\",\"score\":0.916827}]}\n"
    );
}

#[test]
fn pairs_need_their_separator() {
    let bench = Bench::new();
    let pairs = bench.put("pairs.bundle", bundle(&Manifest { pair: true, ..manifest() }));
    let single = bench.bundle(&manifest());
    let output = run(&["--bundle", &pairs, "--format", "jsonl", "--text-pair", "TAB"], b"good\tday\ngood\n");
    assert_eq!(output.code, 0);
    let lines: Vec<_> = output.out.lines().collect();
    assert!(lines[0].contains("\"label\":\"positive\"") && lines[0].contains("\"tokens\":5"), "{}", lines[0]);
    assert!(lines[1].starts_with("{\"n\":2,\"error\":"), "{}", lines[1]);
    let tokens = run(&["tokenize", "--bundle", &pairs, "--text-pair", "TAB"], b"good\tday\ngood\n");
    assert_eq!(tokens.out.lines().nth(1), Some(lines[1]));
    assert!(output.err.contains("classified: 1"), "{}", output.err);
    assert_fails(&["--bundle", &pairs], 2, "--text-pair TAB");
    assert_fails(&["--bundle", &single, "--text-pair", "TAB"], 2, "takes one text");
    assert_fails(&["tokenize", "--bundle", &pairs], 2, "--text-pair TAB");
    assert_fails(&["tokenize", "--bundle", &single, "--text-pair", "TAB"], 2, "takes one text");
    assert_fails(&["--bundle", &pairs, "--text-pair", "<->"], 2, "one character");
}

#[test]
fn long_texts_are_read_in_windows_if_the_bundle_says_so() {
    let bench = Bench::new();
    let cut = bench.put("cut.bundle", bundle(&Manifest { max_tokens: 4, ..manifest() }));
    let windows = Windows::Mean { overlap: 0, most: 2 };
    let read = bench.put("read.bundle", bundle(&Manifest { max_tokens: 4, windows, ..manifest() }));
    let logits = |bundle, text: &[u8]| run(&["--bundle", bundle, "--format", "jsonl", "--logits"], text).out;
    // 2 windows, "good day" and "good good"; the rest is cut off
    let text = b"good day good good bad bad bad";
    let expected = |x: f32| format!("\"logits\":[\"{:08x}\",\"{:08x}\"]", (-x).to_bits(), x.to_bits());
    // with overlap, "good day" and "day good"
    let windows = Windows::Mean { overlap: 1, most: 2 };
    let shared = bench.put("shared.bundle", bundle(&Manifest { max_tokens: 4, windows, ..manifest() }));
    let (cut, read, shared) = (logits(&cut, text), logits(&read, text), logits(&shared, text));
    assert!(shared.contains("\"tokens\":5,\"truncated\":true,"), "{shared}");
    assert!(shared.contains(&expected(1.5)), "{shared}");
    assert!(cut.contains("\"tokens\":4,") && cut.contains(&expected(1.5)), "{cut}");
    assert!(read.contains("\"tokens\":6,") && read.contains(&expected(2.25)), "{read}");
}

#[test]
fn files_are_read_in_their_order() {
    let bench = Bench::new();
    let moods = bench.bundle(&manifest());
    let (one, two) = (bench.put("one.txt", "good\nbad"), bench.put("two.txt", "\nday good\n"));
    let output = run(&["--bundle", &moods, "--format", "jsonl", &one, "-", &two], b"bad\n");
    let labels: Vec<_> = output
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|record| (record["n"].as_u64().unwrap(), record["label"].as_str().unwrap().to_owned()))
        .collect();
    let expected = ["positive", "negative", "negative", "negative", "positive"];
    assert_eq!(labels, (1..).zip(expected.map(str::to_owned)).collect::<Vec<_>>());

    let output = run(&["--bundle", &moods, &one, "none.txt"], b"");
    assert_eq!((output.code, output.out.lines().count()), (1, 2), "{}", output.err);
    assert!(output.err.contains("none.txt: No such file"), "{}", output.err);
    // the other files are read nevertheless
    let output = run(&["--bundle", &moods, "none.txt", &one, "gone.txt"], b"");
    assert_eq!((output.code, output.out.lines().count()), (1, 2), "{}", output.err);
    assert!(
        output.err.contains("none.txt: No such file") && output.err.contains("gone.txt"),
        "{}",
        output.err
    );
    for command in ["verify", "help"] {
        let output = run(&["--bundle", &moods, &one, command], b"");
        assert!(output.code == 1 && output.err.contains("a command comes before"), "{}", output.err);
    }
    // messages with errors are counted
    let bad = bench.put("bad.txt", b"good\xff\n");
    let output = run(&["--bundle", &moods, &bad, "none.txt"], b"");
    assert!(output.code == 1 && output.err.contains("read or classified: 1"), "{}", output.err);
    let output = run(&["--bundle", &moods, &moods], b"");
    assert!(output.code == 2 && output.err.contains("is a bundle: --bundle"), "{}", output.err);
    // columns are not taken apart, which is told
    let table = bench.put("table.CSV", b"text,label\ngood,x\n");
    let output = run(&["--bundle", &moods, &table], b"");
    assert!(output.code == 0 && output.err.contains("table.CSV: each line"), "{}", output.err);
    let output = run(&["--bundle", &moods, "--quiet", &table], b"");
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    let folder = bench.folder.path().to_str().unwrap();
    let output = run(&["--bundle", &moods, folder], b"");
    assert!(output.code == 1 && output.err.contains(folder), "{}", output.err);
}

#[test]
fn a_socket_that_its_reader_has_closed_is_no_failure() {
    let bench = Bench::new();
    let texts = bench.put("texts.txt", "good\n".repeat(20_000));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let output = std::os::fd::OwnedFd::from(listener.accept().unwrap().0);
    let program = Command::new(env!("CARGO_BIN_EXE_goldcrest-edge"))
        .args(["--quiet", "--bundle", &bench.bundle(&manifest()), &texts])
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // answers that are there and were not read make it a reset
    reader.read_exact(&mut [0; 10]).unwrap();
    drop(reader);
    let done = program.wait_with_output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
}

/// Otherwise its own records would be messages, until the disk is full.
#[test]
fn a_file_that_is_also_the_output_is_not_read() {
    let bench = Bench::new();
    let moods = bench.bundle(&manifest());
    let (own, other) = (bench.put("own.txt", "good\n"), bench.put("other.txt", "bad\n"));
    let stdin = || fs::File::open(&own).unwrap();
    for (files, input) in [(vec![&own, &other], Stdio::null()), (vec![], stdin().into())] {
        fs::write(&own, "good\n").unwrap();
        let output = fs::File::options().append(true).open(&own).unwrap();
        // so that a failure does not fill the disk
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -f 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_goldcrest-edge")]);
        command.args(["--bundle", &moods]).args(&files);
        let done = command.stdin(input).stdout(output).output().unwrap();
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(1) && told.contains("is also the output"), "{told}");
        let lines = fs::read_to_string(&own).unwrap().lines().count();
        // the other files are read nevertheless
        assert_eq!(lines, if files.is_empty() { 1 } else { 2 });
    }
}

#[test]
fn a_missing_file_is_told_even_if_the_reader_of_the_output_is_gone() {
    let bench = Bench::new();
    let moods = bench.bundle(&manifest());
    let many = bench.put("many.txt", "good day\n".repeat(50_000));
    let mut command = Command::new(env!("CARGO_BIN_EXE_goldcrest-edge"));
    command.args(["--bundle", &moods, "none.txt", &many]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    let told = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.code() == Some(1) && told.contains("none.txt: No such file"), "{told}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let moods = Bench::new();
    let moods = moods.bundle(&manifest());
    assert_fails(&["--nonsense"], 2, "--nonsense");
    assert_fails(&["--bundle", &moods, "--logits"], 2, "jsonl");
    assert_fails(&["--bundle", &moods, "--threads", "0"], 2, "--threads");
    assert_fails(&["--bundle", &moods, "verify"], 2, "a command comes first: `goldcrest-edge verify");
    assert_fails(&["bench", "--bundle", &moods, "--tokens", "33"], 2, "takes 3 to 32");
    assert_fails(
        &["tokenize", "--vocab", "no-such-vocabulary", "--max-tokens", "1"],
        1,
        "no-such-vocabulary",
    );
    #[cfg(not(feature = "embedded"))]
    assert_fails(&["classify"], 2, "--bundle");
    let help = run(&["--help"], b"");
    assert!(help.code == 0 && help.out.contains("Examples:"), "{}", help.out);
    let help = run(&["classify", "--help"], b"");
    assert!(help.code == 0 && help.out.contains("put the new one beside it and `mv` it"), "{}", help.out);
}

#[test]
fn tokenize_prints_ids() {
    let bench = Bench::new();
    let moods = bench.bundle(&manifest());
    let vocab = bench.put("vocab.txt", vocabulary());
    let input = "Good days,\n\nquoi\r\n\u{e4}\n";
    for source in [["--bundle", moods.as_str()], ["--vocab", vocab.as_str()]] {
        let output = run(&[&["tokenize"], &source[..]].concat(), input.as_bytes());
        assert_eq!(output.out, "[2,4,6,7,8,3]\n[2,3]\n[2,1,3]\n[2,1,3]\n", "{}", output.err);
    }
    let output = run(&["tokenize", "--vocab", &vocab, "--cased", "--max-tokens", "3"], b"Good day\ngood day");
    assert_eq!(output.out, "[2,1,3]\n[2,4,3]\n");
    let output = run(&["tokenize", "--vocab", &vocab, "--text-pair", "TAB"], b"good\tday\n\xff\n");
    assert_eq!(output.out, "[2,4,3,6,3]\n{\"n\":2,\"error\":\"byte 0 is not valid UTF-8\"}\n");
    assert_fails(&["tokenize", "--vocab", &vocab, "--max-tokens", "1"], 2, "--max-tokens");
    let broken = bench.put("broken.txt", "good\n");
    assert_fails(&["tokenize", "--vocab", &broken], 1, "broken.txt");
}

#[test]
fn verify_says_what_is_wrong() {
    let bench = Bench::new();
    let moods = bench.bundle(&manifest());
    let output = run(&["verify", "--bundle", &moods], b"");
    let expected = "moods 1.0.0: whole, and 1 of 1 golden messages give their logits bit for bit\n";
    assert_eq!((output.code, output.out.as_str()), (0, expected), "{}", output.err);
    let output = run(&["verify", "--quiet", "--bundle", &moods], b"");
    assert_eq!((output.code, output.out.as_str()), (0, ""));

    let whole = fs::read(&moods).unwrap();
    let verify = |bytes: &[u8], reason| {
        let path = bench.put("bad.bundle", bytes);
        assert_fails(&["verify", "--bundle", &path], 1, reason);
    };
    let altered = |offset: usize| {
        let mut bytes = whole.clone();
        bytes[offset] ^= 1;
        bytes
    };
    let untested = bench.put("untested.bundle", with_golden(&manifest(), &[]));
    let output = run(&["verify", "--bundle", &untested], b"");
    assert!(output.code == 0 && output.out.contains("but no answer was compared"), "{}", output.out);
    assert!(run(&["verify", "--quiet", "--bundle", &untested], b"").err.contains("no golden messages"));

    verify(&whole[..whole.len() - 1], "truncated");
    for (bytes, reason) in [(altered(whole.len() / 2), "altered"), (vec![], "truncated")] {
        assert_fails(&["classify", "--bundle", &bench.put("bad.bundle", &bytes)], 1, reason);
    }
    verify(&altered(whole.len() / 2), "altered");
    verify(&altered(8), "format version 3");
    verify(&altered(0), "not a bundle");
    verify(&altered(19), "oversized");
    verify(&[whole.clone(), vec![0]].concat(), "after the end");
    let golden = |last| Golden { text: "good".into(), pair: None, logits: vec![0xc000_0000, last] };
    let [right, wrong] = [golden(0x4000_0000), golden(0x4000_0001)];
    verify(
        &with_golden(&manifest(), &[right, wrong.clone(), wrong]),
        "2 of 3 golden messages give other logits, the first is number 2",
    );
    verify(&common::failing_on_commas(&manifest()), "a text of 32 tokens: model: tract");
    let labels = ["a", "b", "c"].map(str::to_owned).into();
    let three = Manifest { labels, ..manifest() };
    let model = bundle(&manifest());
    let read = goldcrest_edge::bundle::Bundle::read(&model).unwrap();
    let write = |onnx, vocabulary| goldcrest_edge::bundle::write(&three, onnx, &[], vocabulary, &[]).unwrap();
    verify(&write(read.model(), read.vocabulary()), "2 logits for 3 labels");
    verify(&write(b"\x01\x02", read.vocabulary()), "model:");
    verify(&write(read.model(), b"good\n"), "tokenizer:");
    assert_fails(&["verify", "--bundle", "none.bundle"], 1, "none.bundle");
}

#[test]
fn inspect_shows_the_manifest() {
    let bench = Bench::new();
    let moods = bench.bundle(&manifest());
    let output = run(&["inspect", "--json", "--bundle", &moods], b"");
    let value: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(value["labels"], serde_json::json!(["negative", "positive"]));
    assert_eq!(value["bytes"], fs::metadata(&moods).unwrap().len());
    assert_eq!(value["vocabulary"], 9);
    assert_eq!(value["sections"]["vocab.txt"], vocabulary().len());
    let output = run(&["inspect", "--bundle", &moods], b"");
    assert!(output.out.contains("labels                   negative, positive\n"), "{}", output.out);
    // the memory of tract's operators is not known
    assert_eq!(value["memory"]["peak_bytes"], Value::Null);
}

#[test]
fn bench_measures_every_length() {
    let bench = Bench::new();
    let moods = bench.bundle(&manifest());
    let args = ["bench", "--bundle", &moods, "--threads", "1", "--seconds", "0.02", "--tokens", "3,8,32"];
    let output = run(&[&args[..], &["--json"]].concat(), b"");
    let value: Value = serde_json::from_str(&output.out).unwrap_or_else(|_| panic!("{}", output.err));
    let lengths = value["lengths"].as_array().unwrap();
    assert_eq!(lengths.iter().map(|l| l["tokens"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 8, 32]);
    for part in lengths.iter().flat_map(|l| [&l["model"], &l["end_to_end"]]) {
        let times = ["min", "p50", "p90", "p99"].map(|p| part[p].as_f64().unwrap());
        assert!(times[0] > 0.0 && times.is_sorted(), "{part}");
    }
    assert!(value["load"].as_f64().unwrap() > 0.0);
    #[cfg(target_os = "linux")]
    assert!(value["peak_memory_kib"].as_u64().unwrap() > 1000);
    assert_eq!(run(&args, b"").code, 0);
    // by default, those of the usual lengths that the model takes
    let output = run(&["bench", "--bundle", &moods, "--seconds", "0.02"], b"");
    let lengths: Vec<_> =
        output.out.lines().skip(5).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(lengths, ["8", "16", "32"], "{}{}", output.out, output.err);
    assert_fails(&["bench", "--bundle", &moods, "--seconds", "0"], 2, "positive");
    let args = args.map(|arg| if arg == "1" { "2" } else { arg });
    let output = run(&args, b"");
    assert!(output.code == 0 && output.out.contains("2 threads"), "{}{}", output.out, output.err);
    let output = run(&[&args[..], &["--json"]].concat(), b"");
    let value: Value = serde_json::from_str(&output.out).unwrap();
    assert!(value["lengths"].as_array().unwrap().iter().all(|l| l["backlog"].as_f64().unwrap() > 0.0));
}
