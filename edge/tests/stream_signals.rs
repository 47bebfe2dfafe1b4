//! The real binary and signals: while it waits, in full flow, ignored, repeated.
#![cfg(target_os = "linux")]
mod common;
mod stream_support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use stream_support::{Edge, TIMEOUT, catches_sigterm, command, kill, kill_twice, wait};

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

#[test]
fn input_that_a_signal_leaves_unread_is_reported() {
    let mut edge = Edge::on(1);
    edge.send(b"good\n");
    assert_eq!(edge.receive()["n"], 1);
    edge.signal("-STOP");
    // less than a pipe holds, and more than is answered before the signal is heard
    edge.send("good day\n".repeat(6000).as_bytes());
    edge.signal("-TERM");
    edge.signal("-CONT");
    assert_eq!(edge.wait().signal(), Some(15));
    let mut errors = String::new();
    edge.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    // if another thread gets the signal, this one may have read it all by then
    let told = ["more input was waiting", "bytes that were read have no answer"];
    assert!(told.iter().any(|told| errors.contains(told)), "{errors}");
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

/// Returns whether the program reported input that has no answer.
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
    let told = ["bytes that were read have no answer", "more input was waiting"];
    let told = told.iter().any(|told| errors.contains(told));
    let expected = if told { (None, Some(15)) } else { (Some(0), None) };
    assert_eq!((status.code(), status.signal()), expected, "{errors}");
    told
}

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
#[test]
fn a_signal_that_is_ignored_stays_so() {
    let (command, _folder) = command();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
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
