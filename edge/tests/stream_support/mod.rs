//! The real binary with a tiny bundle, its pipes and its signals.
#![allow(dead_code)]

use crate::common;
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing here takes a second, except on a loaded machine.
pub const TIMEOUT: Duration = Duration::from_secs(60);

pub struct Edge {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    pub lines: Receiver<String>,
    pub folder: tempfile::TempDir,
}

impl Edge {
    pub fn on(threads: usize) -> Self {
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

    pub fn send(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub fn receive(&self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(TIMEOUT).expect("a record")).unwrap()
    }

    pub fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Returns the peak resident memory in KiB.
    #[cfg(target_os = "linux")]
    pub fn peak(&self) -> i64 {
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

pub fn command() -> (Command, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("moods.bundle");
    std::fs::write(&path, common::bundle(&common::manifest())).unwrap();
    let binary = env!("CARGO_BIN_EXE_goldcrest-edge");
    handle_signals();
    let mut command = Command::new(binary);
    // the tiny model is no BERT
    command.args(["--stock", "--format", "jsonl", "--bundle"]).arg(path).stderr(Stdio::piped());
    (command, folder)
}

/// Handles signals which the tests were started with ignored, like a background job of a shell. Child processes inherit
/// ignored signals, but not handlers.
fn handle_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap());
        for signal in [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 1)
        {
            signal_hook::flag::register(signal, Arc::default()).unwrap();
        }
    });
}

pub fn wait(child: &mut Child) -> ExitStatus {
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

/// Sends a signal with the shell's built-in command, because a bare machine may lack the program.
pub fn kill(signal: &str, process: u32) {
    shell(&format!("kill {signal} {process}"));
}

/// Sends a signal twice at once, as timeout(1) does.
pub fn kill_twice(signal: &str, process: u32) {
    shell(&format!("kill {signal} {process} && kill {signal} {process}"));
}

fn shell(kill: &str) {
    assert!(Command::new("sh").args(["-c", kill]).status().unwrap().success());
}

#[cfg(target_os = "linux")]
pub fn catches_sigterm(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() >> 14 & 1 == 1
}
