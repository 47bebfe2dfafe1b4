//! The real binary as part of a system: pipes, bad input, endless input, full disks.
#![cfg(unix)]
mod common;
mod stream_support;

use goldcrest_edge::{Classifier, Options};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use stream_support::{Edge, TIMEOUT, command, wait};

/// Returns all records for a finite input.
fn records(input: &[u8]) -> Vec<Value> {
    records_on(1, input)
}

fn records_on(threads: usize, input: &[u8]) -> Vec<Value> {
    let mut edge = Edge::on(threads);
    let mut stdin = edge.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&input).unwrap());
    let mut records = vec![];
    while let Ok(line) = edge.lines.recv_timeout(TIMEOUT) {
        records.push(serde_json::from_str(&line).unwrap());
    }
    writer.join().unwrap();
    assert!(edge.wait().success());
    records
}

#[test]
fn nothing_in_nothing_out() {
    assert_eq!(records(b""), Vec::<Value>::new());
}

#[test]
fn each_line_gives_its_record_at_once() {
    answers_at_once(1);
    answers_at_once(3);
}

fn answers_at_once(threads: usize) {
    let mut edge = Edge::on(threads);
    for n in 1..=3 {
        edge.send(b"good");
        edge.send(b" day\n");
        assert_eq!(edge.receive()["n"], n);
    }
    // two and a half messages in one write give two records, then the rest
    edge.send(b"good\nbad\nba");
    assert_eq!((edge.receive()["n"].clone(), edge.receive()["n"].clone()), (4.into(), 5.into()));
    edge.send(b"d");
    edge.stdin = None;
    assert_eq!(edge.receive()["label"], "negative");
    assert!(edge.wait().success());
}

#[test]
fn every_kind_of_line_has_one_record() {
    let input = b"good\n\nba\xffd\n\0go\0od\0\r\n\xc3\xa4\n\xe2\x82\n\x07\n \t \nlast";
    let records = records(input);
    assert_eq!(records.len(), 9);
    for (n, record) in (1..).zip(&records) {
        assert_eq!(record["n"], n);
    }
    let tokens: Vec<_> = records.iter().map(|record| record["tokens"].as_u64()).collect();
    assert_eq!(tokens, [Some(3), Some(2), None, Some(3), Some(3), None, Some(2), Some(2), Some(3)]);
    assert_eq!(records[2]["error"], "byte 2 is not valid UTF-8");
    assert_eq!(records[5]["error"], "byte 0 is not valid UTF-8");
    assert_eq!(records[3]["label"], "positive");
}

#[test]
fn a_hundred_thousand_messages_keep_their_order() {
    let count = 100_000;
    let input: String = (0..count).map(|i| if i % 3 == 0 { "good day\n" } else { "bad\n" }).collect();
    for threads in [1, 3] {
        let records = records_on(threads, input.as_bytes());
        assert_eq!(records.len(), count);
        for (i, record) in records.iter().enumerate() {
            let label = if i % 3 == 0 { "positive" } else { "negative" };
            assert_eq!((record["n"].as_u64(), record["label"].as_str()), (Some(i as u64 + 1), Some(label)));
        }
    }
}

#[test]
fn a_reader_that_stops_is_no_error() {
    let (mut command, _folder) = command();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let writer = thread::spawn(move || while stdin.write_all(b"good\n").is_ok() {});
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"n\":1,"));
    let status = wait(&mut child);
    writer.join().unwrap();
    let mut errors = String::new();
    child.stderr.unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let (mut command, _folder) = command();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = command.stdin(Stdio::piped()).stdout(full).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"good\n").unwrap();
    assert_eq!(wait(&mut child).code(), Some(1));
    let mut errors = String::new();
    child.stderr.unwrap().read_to_string(&mut errors).unwrap();
    assert!(errors.contains("goldcrest-edge: stdout: cannot write: No space left"), "{errors}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_limit_on_the_size_of_files_is_an_error() {
    let (command, folder) = command();
    let (messages, records) = (folder.path().join("messages.txt"), folder.path().join("records.jsonl"));
    std::fs::write(&messages, "good day\n".repeat(20_000)).unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 8; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args())
        .arg(messages)
        .stdout(File::create(&records).unwrap())
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("stdout: cannot write: File too large"), "{errors}");
    assert_eq!(output.status.code(), Some(1));
    assert!(std::fs::metadata(records).unwrap().len() > 0);
}

/// Tries several lengths of records, so that the buffer also fills up in the middle of an escaped text.
#[cfg(target_os = "linux")]
#[test]
fn write_errors_within_a_record_are_noticed() {
    for first in 0..8 {
        let input = ["\u{e4}".repeat(first).as_bytes(), &b"\n\xff".repeat(5000)].concat();
        let run = |stdout: Stdio| {
            let (mut command, folder) = command();
            let mut child = command.stdin(Stdio::piped()).stdout(stdout).spawn().unwrap();
            let (mut stdin, input) = (child.stdin.take().unwrap(), input.clone());
            let writer = thread::spawn(move || drop(stdin.write_all(&input)));
            (child, writer, folder)
        };
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (mut child, writer, _folder) = run(full.into());
        assert_eq!(wait(&mut child).code(), Some(1));
        writer.join().unwrap();
        let mut errors = String::new();
        child.stderr.unwrap().read_to_string(&mut errors).unwrap();
        assert!(errors.contains("goldcrest-edge: stdout: cannot write: No space left"), "{first}: {errors}");

        let (mut child, writer, _folder) = run(Stdio::piped());
        let mut some = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        assert_eq!(wait(&mut child).code(), Some(0), "{first}");
        writer.join().unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn diagnostics_need_no_reader() {
    let (mut command, _folder) = command();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(full).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\xff\n").unwrap();
    assert_eq!(wait(&mut child).code(), Some(0));
}

#[test]
fn a_bundle_that_is_written_to_ends_it() {
    for threads in [1, 3] {
        let mut edge = Edge::on(threads);
        edge.send(b"good\n");
        assert_eq!(edge.receive()["n"], 1);
        let (bundle, new) = (edge.folder.path().join("moods.bundle"), edge.folder.path().join("new"));
        // renaming another one over it leaves the old one intact
        let old = File::options().write(true).open(&bundle).unwrap();
        std::fs::copy(&bundle, &new).unwrap();
        std::fs::rename(&new, &bundle).unwrap();
        edge.send(b"good\n");
        assert_eq!(edge.receive()["n"], 2);
        // truncate it while the rest of a message is awaited
        edge.send(b"go");
        thread::sleep(Duration::from_millis(50));
        old.set_len(1).unwrap();
        edge.send(b"od\n");
        assert_eq!(edge.wait().code(), Some(1));
        let mut errors = String::new();
        edge.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let expected = format!("goldcrest-edge: {} was written to", bundle.display());
        assert!(errors.starts_with(&expected), "{errors}");
    }
}

#[test]
fn a_self_test_notices_it_too() {
    let (_, folder) = command();
    let path = folder.path().join("moods.bundle");
    let mut classifier = Classifier::open(&path, &Options { fuse: false, ..Options::default() }).unwrap();
    classifier.self_test(&[]).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
    let error = classifier.self_test(&[]).unwrap_err().to_string();
    assert!(error.contains("was written to"), "{error}");
}

/// The system sends SIGBUS when pages are read that are gone.
#[test]
fn a_bundle_that_is_cut_off_in_full_flow_ends_it() {
    for threads in [1, 3, 3, 3] {
        let mut edge = Edge::on(threads);
        let mut stdin = edge.stdin.take().unwrap();
        let writer = thread::spawn(move || while stdin.write_all(b"good day\nbad\n").is_ok() {});
        assert_eq!(edge.receive()["n"], 1);
        let bundle = edge.folder.path().join("moods.bundle");
        File::options().write(true).open(&bundle).unwrap().set_len(0).unwrap();
        assert_eq!(edge.wait().code(), Some(1));
        writer.join().unwrap();
        let mut errors = String::new();
        edge.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert!(errors.contains("was written to while it was in use"), "{errors}");
    }
}

/// Runs a script that starts the command in its arguments and exits with 0 if that does what it should.
#[cfg(target_os = "linux")]
fn started_by_python(script: &str, command: &Command) {
    let python = Command::new("python3")
        .args(["-c", script])
        .arg(command.get_program())
        .args(command.get_args())
        .output();
    match python {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        // directly, because the test harness captures what tests print
        Err(_) => std::io::stderr().write_all(b"skipped: no python3\n").unwrap(),
    }
}

/// Node, ssh and shared terminals can leave stdout non-blocking.
#[cfg(target_os = "linux")]
#[test]
fn a_non_blocking_stdout_is_waited_for() {
    let (mut command, folder) = command();
    let file = folder.path().join("messages.txt");
    std::fs::write(&file, "good day\n".repeat(20_000)).unwrap();
    let script = "import os,subprocess,sys,time\n\
        r,w=os.pipe()\n\
        os.set_blocking(w,False)\n\
        p=subprocess.Popen(sys.argv[1:],stdout=w)\n\
        os.close(w)\n\
        time.sleep(0.3)\n\
        n=sum(1 for _ in open(r))\n\
        sys.exit(p.wait() or n!=20000)";
    command.arg(file);
    started_by_python(script, &command);
}

/// Linux refuses reads of a terminal that must not wait; it gives one line per read.
#[cfg(target_os = "linux")]
#[test]
fn lines_typed_at_a_terminal_are_answered() {
    let (command, _folder) = command();
    // Ctrl-D ends the input
    let script = "import os,pty,subprocess,sys\n\
        m,s=pty.openpty()\n\
        p=subprocess.Popen(sys.argv[1:],stdin=s,stdout=subprocess.PIPE)\n\
        os.close(s)\n\
        os.write(m,b'good day\\nbad\\n\\x04')\n\
        n=sum(1 for _ in p.stdout)\n\
        sys.exit(p.wait() or n!=2)";
    started_by_python(script, &command);
}

/// A line of 100 MB gives one record, the same as its beginning, and takes no more memory.
#[cfg(target_os = "linux")]
#[test]
fn a_line_of_any_length_takes_constant_memory() {
    takes_constant_memory(1);
    takes_constant_memory(3);
}

#[cfg(target_os = "linux")]
fn takes_constant_memory(threads: usize) {
    let mut edge = Edge::on(threads);
    edge.send(b"good\n");
    edge.receive();
    let before = edge.peak();
    let block = "good \u{e4}\u{1f980} day ".repeat(1 << 16);
    let mut sent = 0;
    while sent < 100 << 20 {
        edge.send(block.as_bytes());
        sent += block.len();
    }
    edge.send(b"\n");
    let record = edge.receive();
    assert_eq!((record["n"].as_u64(), record["tokens"].as_u64()), (Some(2), Some(32)));
    // a word of 16 MiB
    for _ in 0..16 {
        edge.send(&[b'x'; 1 << 20]);
    }
    edge.send(b"\n");
    assert_eq!(edge.receive()["tokens"], 3);
    // a message that is invalid only at its end
    edge.send("good".repeat(1 << 20).as_bytes());
    edge.send(b"\xff\ngood\n");
    assert_eq!(edge.receive()["error"], "byte 4194304 is not valid UTF-8");
    assert_eq!(edge.receive()["label"], "positive");
    let grown = edge.peak() - before;
    assert!(grown < 1024, "{grown} KiB more than after a short message");
}
