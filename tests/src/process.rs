//! Child processes with a time limit.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The result of a process.
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// All of standard output.
    pub stdout: Vec<u8>,
    /// All of standard error, as text.
    pub stderr: String,
}

/// Runs `command` with `input` on standard input. After `limit`, kills it and all that it has started: it is done once
/// nobody holds its output any more.
///
/// # Panics
/// If it cannot be started or is not done in time.
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> Finished {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // a group of its own, to be killed as a whole
        .process_group(0)
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (mut stdin, mut stdout, mut stderr) = (
        child.stdin.take().expect("piped"),
        child.stdout.take().expect("piped"),
        child.stderr.take().expect("piped"),
    );
    let end = Instant::now() + limit;
    thread::scope(|scope| {
        // a child may stop reading early: the tests count its records anyway
        scope.spawn(move || stdin.write_all(input).ok());
        let out = scope.spawn(move || read_all(&mut stdout));
        let err = scope.spawn(move || read_all(&mut stderr));
        let mut status = None;
        let in_time = loop {
            status = status.or_else(|| child.try_wait().expect("wait for a child"));
            if status.is_some() && out.is_finished() && err.is_finished() {
                break true;
            }
            if Instant::now() >= end {
                kill_group(child.id());
                child.wait().expect("end a child");
                break false;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let stdout = out.join().expect("reader");
        let stderr = String::from_utf8_lossy(&err.join().expect("reader")).into_owned();
        match status {
            Some(status) if in_time => Finished { status, stdout, stderr },
            _ => panic!("{command:?}: not done after {limit:?}\n{stderr}"),
        }
    })
}

/// Like [`run`], for a process that must exit with code 0; returns its standard output.
///
/// # Panics
/// If it exits otherwise.
pub fn run_ok(command: &mut Command, input: &[u8], limit: Duration) -> Vec<u8> {
    let done = run(command, input, limit);
    assert!(done.status.success(), "{command:?}: {}\n{}", done.status, done.stderr);
    done.stdout
}

/// Kills all processes of a group with the shell's built-in command, because a bare machine may lack the program.
fn kill_group(group: u32) {
    let killed = Command::new("sh").args(["-c", &format!("kill -s KILL -- -{group}")]).status();
    assert!(killed.is_ok_and(|status| status.success()), "cannot kill process group {group}");
}

fn read_all(from: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).expect("read a child's output");
    all
}
