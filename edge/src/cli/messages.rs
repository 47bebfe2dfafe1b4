//! Where messages come from.
use super::{Usage, is_command, say};
use anyhow::{Context, Result};
use goldcrest_edge::bundle::{Manifest, is_bundle};
use goldcrest_edge::format_error;
use goldcrest_edge::stream::{self, End, Interrupt, Lines, Sink, Source, Stdout};
use rustix::io::ioctl_fionread;
use signal_hook::consts::SIGTERM;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Parses the separator between the two texts of a line: `TAB` or any single character.
pub fn parse_separator(text: &str) -> Result<char, String> {
    let mut characters = text.chars();
    match (text, characters.next(), characters.next()) {
        ("TAB" | "tab" | "\\t", ..) => Ok('\t'),
        (_, Some('\n'), None) => Err("a line end already separates messages".into()),
        (_, Some(character), None) => Ok(character),
        _ => Err("give TAB or one character".into()),
    }
}

/// Fails unless the messages are pairs if and only if the model compares two texts.
pub fn check_pair(manifest: &Manifest, separator: Option<char>) -> Result<(), Usage> {
    match (manifest.pair, separator) {
        (true, None) => {
            Err(Usage("this model compares two texts: give --text-pair TAB, and two texts per line".into()))
        }
        (false, Some(_)) => Err(Usage("this model takes one text: --text-pair does not apply".into())),
        _ => Ok(()),
    }
}

/// Passes all lines of `files` to `sink`; `-`, or no file at all, means stdin. If a file cannot be read, the
/// others are read nevertheless.
pub fn run_lines(files: &[PathBuf], sink: &mut impl Sink) -> Result<()> {
    if let Some(bundle) = files.iter().find(|file| is_bundle(file)) {
        let bundle = bundle.display();
        return Err(Usage(format!("{bundle} is a bundle: --bundle {bundle} classifies with it")).into());
    }
    let stdin = [PathBuf::from("-")];
    let mut failed = Vec::new();
    let mut ended = run_all(if files.is_empty() { &stdin } else { files }, sink, &mut failed);
    // the caller reports the last error, like any other; that the reader of the output has gone hides none
    let reader_gone = |error: &anyhow::Error| stream::is_broken_pipe(error.as_ref());
    if ended.as_ref().err().is_none_or(reader_gone)
        && let Some(last) = failed.pop()
    {
        ended = Err(last);
    }
    for error in failed {
        say(format_args!("{}", format_error(error.as_ref())));
    }
    ended
}

fn run_all(files: &[PathBuf], sink: &mut impl Sink, failed: &mut Vec<anyhow::Error>) -> Result<()> {
    let interrupt = Interrupt::on_signals(None).context("signals")?;
    let mut lines = Lines::default();
    for (number, path) in (1..).zip(files) {
        let name = || if path == Path::new("-") { "stdin".into() } else { path.display().to_string() };
        let refused = |error, why: &str| anyhow::Error::from(error).context(name() + why);
        let mut source = match stream::open(path) {
            Ok(source) => source,
            Err(error) => {
                let word = error.kind() == io::ErrorKind::NotFound && !name().contains(['.', '/']);
                let why = match word {
                    true if is_command(path) => " (a command comes before everything else)",
                    true => " (no command has this name either)",
                    false => "",
                };
                failed.push(refused(error, why));
                continue;
            }
        };
        if let Err(error) = Stdout::check_is_not(&source) {
            failed.push(refused(error, ""));
            continue;
        }
        match lines.run(&mut source, sink, &interrupt) {
            Ok(End::Source) => {}
            Ok(End::Interrupted { unanswered }) => {
                let (waits, files_left) = (source.may_wait(), files.len() - number);
                let unread = waits && ioctl_fionread(&source).is_ok_and(|bytes| bytes > 0);
                // all that had come was answered, and nothing tells whether more would have come
                if waits && unanswered == 0 && !unread && files_left == 0 {
                    break;
                }
                let unanswered = (waits && unanswered > 0).then_some(unanswered);
                let (messages, signal) = (lines.messages(), interrupt.signal().unwrap_or(SIGTERM));
                return Err(Ended { name: name(), messages, unanswered, unread, files_left, signal }.into());
            }
            Err(error @ stream::Error::Read(_)) => failed.push(anyhow::Error::from(error).context(name())),
            Err(error @ stream::Error::Write(_)) => return Err(error).context("stdout"),
            // not an error of this file or of stdout
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A signal ended the program before everything was answered.
#[derive(Debug, thiserror::Error)]
pub struct Ended {
    name: String,
    messages: u64,
    /// Bytes that were read from a stream and have no answer.
    unanswered: Option<u64>,
    /// Whether the stream holds input that was not read.
    unread: bool,
    files_left: usize,
    pub signal: i32,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended { name, messages, unread, .. } = self;
        write!(f, "ended by a signal within {name}, after {messages} messages in all")?;
        if let Some(bytes) = self.unanswered {
            write!(f, ", {bytes} bytes that were read have no answer")?;
        }
        if *unread {
            f.write_str(", more input was waiting")?;
        }
        match self.files_left {
            0 => Ok(()),
            1 => f.write_str(", and 1 more file was not read"),
            files => write!(f, ", and {files} more files were not read"),
        }
    }
}
