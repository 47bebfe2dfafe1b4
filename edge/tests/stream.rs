//! The real binary as part of a system: pipes, signals, bad input, endless input.
#![cfg(unix)]
mod common;

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing here takes a second, except on a loaded machine.
const TIMEOUT: Duration = Duration::from_secs(60);

struct Edge {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    folder: tempfile::TempDir,
}

impl Edge {
    fn on(threads: usize) -> Self {
        let (mut command, folder) = command();
        let mut child = command
            .arg("--threads")
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if sender.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
        Edge { child, stdin, lines, folder }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn receive(&self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(TIMEOUT).expect("a record")).unwrap()
    }

    fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Returns the peak resident memory in KiB.
    #[cfg(target_os = "linux")]
    fn peak(&self) -> i64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command() -> (Command, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("moods.bundle");
    std::fs::write(&path, common::bundle(&common::manifest())).unwrap();
    let binary = env!("CARGO_BIN_EXE_goldcrest-edge");
    // the tests may be run with signals ignored, which child processes inherit
    let mut command = match cfg!(target_os = "linux") {
        true => Command::new("env"),
        false => Command::new(binary),
    };
    if cfg!(target_os = "linux") {
        command.args(["--default-signal=HUP,INT,TERM", binary]);
    }
    command.args(["--format", "jsonl", "--bundle"]).arg(path).stderr(Stdio::piped());
    (command, folder)
}

fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    while start.elapsed() < TIMEOUT {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    panic!("still running after {TIMEOUT:?}");
}

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

#[cfg(target_os = "linux")]
#[test]
fn a_signal_while_a_named_pipe_has_no_writer_ends_it() {
    let (mut command, folder) = command();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut child = command.arg(&pipe).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while !catches_sigterm(child.id()) && start.elapsed() < TIMEOUT {
        thread::sleep(Duration::from_millis(5));
    }
    // wait for the handlers of the other signals too
    thread::sleep(Duration::from_millis(50));
    kill("-TERM", child.id());
    assert_eq!(wait(&mut child).code(), Some(0));
    // a bundle is not awaited from a named pipe
    let status =
        Command::new(env!("CARGO_BIN_EXE_goldcrest-edge")).arg("--bundle").arg(&pipe).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

/// Sends a signal with the shell's built-in command, because a bare machine may lack the program.
fn kill(signal: &str, process: u32) {
    shell(&format!("kill {signal} {process}"));
}

/// Sends a signal twice at once, as timeout(1) does.
fn kill_twice(signal: &str, process: u32) {
    shell(&format!("kill {signal} {process} && kill {signal} {process}"));
}

fn shell(kill: &str) {
    assert!(Command::new("sh").args(["-c", kill]).status().unwrap().success());
}

#[cfg(target_os = "linux")]
fn catches_sigterm(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() >> 14 & 1 == 1
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

#[test]
fn a_signal_while_waiting_ends_it() {
    for (signal, number, threads) in [("-TERM", 15, 1), ("-INT", 2, 1), ("-HUP", 1, 1), ("-TERM", 15, 3)] {
        // the unfinished message is larger than a pipe, so some of it has been read
        for rest in ["".into(), "x".repeat(300_000)] {
            let mut edge = Edge::on(threads);
            edge.send(b"good\nbad\n");
            assert_eq!((edge.receive()["n"].clone(), edge.receive()["n"].clone()), (1.into(), 2.into()));
            edge.send(rest.as_bytes());
            edge.signal(signal);
            let status = edge.wait();
            let expected = if rest.is_empty() { (Some(0), None) } else { (None, Some(number)) };
            assert_eq!((status.code(), status.signal()), expected, "{signal}, {} bytes", rest.len());
            let mut errors = String::new();
            edge.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            let told = "after 2 messages in all, 300000 bytes that were read have no answer";
            assert_eq!(errors.contains(told), !rest.is_empty(), "{errors}");
            assert!(edge.lines.recv_timeout(TIMEOUT).is_err(), "a record for what had no end");
        }
    }
}

/// Readers of the output must not take a part of it for all of it.
#[test]
fn a_signal_within_a_file_is_no_success() {
    let (mut command, folder) = command();
    let file = folder.path().join("messages.txt");
    std::fs::write(&file, "good day\n".repeat(200_000)).unwrap();
    let mut child = command.args([&file, &file]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    output.next().unwrap().unwrap();
    kill("-INT", child.id());
    let records = 1 + output.count();
    let status = wait(&mut child);
    assert_eq!((status.code(), status.signal()), (None, Some(2)));
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    let said = format!("messages.txt, after {records} messages in all, and 1 more file was not read");
    assert!(errors.contains(&said), "{records}: {errors}");
}

/// Node, ssh and shared terminals can leave stdout non-blocking.
#[cfg(target_os = "linux")]
#[test]
fn a_non_blocking_stdout_is_waited_for() {
    let (command, folder) = command();
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
    let python = Command::new("python3")
        .args(["-c", script])
        .arg(command.get_program())
        .args(command.get_args())
        .arg(file)
        .status();
    match python {
        Ok(status) => assert!(status.success()),
        Err(_) => eprintln!("skipped: no python3"),
    }
}

#[test]
fn a_signal_in_full_flow_leaves_whole_records() {
    // sometimes it is waiting for the writer, and everything that was read has an answer
    for threads in [1, 3] {
        assert!(
            (0..5).any(|_| whole_records_after_a_signal(threads)),
            "what was read is lost without a word"
        );
    }
}

/// Returns whether the program reported input that was read but has no answer.
fn whole_records_after_a_signal(threads: usize) -> bool {
    let mut edge = Edge::on(threads);
    let mut stdin = edge.stdin.take().unwrap();
    let writer = thread::spawn(move || while stdin.write_all(b"good day\nbad\n").is_ok() {});
    assert_eq!(edge.receive()["n"], 1);
    kill_twice("-TERM", edge.child.id());
    let mut n = 1;
    while let Ok(line) = edge.lines.recv_timeout(TIMEOUT) {
        n += 1;
        let record: Value = serde_json::from_str(&line).expect("a whole record");
        assert_eq!(record["n"], n);
    }
    let status = edge.wait();
    writer.join().unwrap();
    let mut errors = String::new();
    edge.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    let told = errors.contains("bytes that were read have no answer");
    let expected = if told { (None, Some(15)) } else { (Some(0), None) };
    assert_eq!((status.code(), status.signal()), expected, "{errors}");
    told
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_signal_ends_what_a_stalled_reader_holds_up() {
    let (mut command, folder) = command();
    let file = folder.path().join("messages.txt");
    std::fs::write(&file, "good day\n".repeat(200_000)).unwrap();
    let mut child = command.arg(&file).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let _unread = child.stdout.take().unwrap();
    let process = child.id();
    let sleeps = || {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        status.lines().any(|line| line.starts_with("State:") && line.contains("S (sleeping)"))
    };
    // it sleeps for long only once the pipe is full
    let (start, mut in_a_row) = (Instant::now(), 0);
    while in_a_row < 30 && start.elapsed() < TIMEOUT {
        in_a_row = if catches_sigterm(process) && sleeps() { in_a_row + 1 } else { 0 };
        thread::sleep(Duration::from_millis(10));
    }
    kill_twice("-TERM", process);
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(child.try_wait().unwrap(), None, "signals repeated at once count once");
    kill("-TERM", process);
    assert_eq!(wait(&mut child).signal(), Some(15));
}

/// A shell starts background jobs of a script with SIGINT ignored.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_is_ignored_stays_so() {
    let (command, _folder) = command();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT; exec \"$0\" \"$@\""]).args(command.get_args().skip(1));
    let mut child =
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        stdin.write_all(b"good\n").unwrap();
        assert!(output.next().unwrap().unwrap().contains("positive"));
        kill("-INT", child.id());
    }
    drop(stdin);
    assert_eq!(wait(&mut child).code(), Some(0));
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
