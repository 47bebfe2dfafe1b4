//! Commands of the device binary. Results go to stdout, diagnostics go to stderr.
mod bench;
mod bundle;
mod classify;
mod inspect;
mod messages;
mod tokenize;
mod verify;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use goldcrest_edge::stream::{self, Stdout};
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Classifies text, offline. Reads messages, one per line, and writes a record for each.
///
/// The default command is `classify`, the default model the one embedded in the binary. Exit codes: 0
/// success, also if the reader of stdout has gone; 1 failure; 2 wrong usage. A message that cannot be
/// classified gets a record with the reason and is not a failure.
///
/// On SIGTERM, SIGINT or SIGHUP, the program finishes the current message if the rest of it is available, and
/// writes all answers. If nothing was left to do, as while waiting for messages, the exit code is 0;
/// otherwise it reports what has no answer and ends by that signal. A second signal, a second or more later, ends it at
/// once, and records not yet written are lost.
#[derive(Parser)]
#[command(name = "goldcrest-edge", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    classify: classify::Args,
}

#[derive(Subcommand)]
enum Command {
    Classify(classify::Args),
    Tokenize(tokenize::Args),
    Bench(bench::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
}

const EXAMPLES: &str = "\
Examples:
  echo 'what a lovely day' | goldcrest-edge
  goldcrest-edge --bundle commands.bundle --format jsonl --top 3 messages.txt
  goldcrest-edge classify --bundle mrpc.bundle --text-pair TAB < pairs.tsv
  goldcrest-edge verify --bundle new.bundle && goldcrest-edge inspect --bundle new.bundle
  goldcrest-edge bench --tokens 16,64 --json

Environment:
  GOLDCREST_ISA   Kernels to use instead of the fastest for the processor: portable, avx2, avx-vnni, avx512-vnni, avx512-amx,
                  neon, neon-dot or neon-i8mm. All give bit-identical answers

See docs/device.md in the sources for the format of records, signals, and running as a service.";

/// The maximum number of threads, in the type that clap's ranges need.
const MAX_THREADS: i64 = goldcrest_edge::classifier::MAX_THREADS as i64;

/// The command line is inconsistent or does not fit the bundle: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

pub fn main() -> ExitCode {
    // without it, a limit ends the program without a word
    let _ = stream::survive_file_size_limit();
    let cli = Cli::parse();
    if let (None, Some(first)) = (&cli.command, cli.classify.first_file())
        && !first.exists()
        && is_command(first)
    {
        let name = first.display();
        say(format_args!("a command comes first: `goldcrest-edge {name} …`, and there is no file `{name}`"));
        return ExitCode::from(2);
    }
    let result = match cli.command.unwrap_or(Command::Classify(cli.classify)) {
        Command::Classify(args) => classify::run(&args),
        Command::Tokenize(args) => tokenize::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Verify(args) => verify::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // the reader has seen enough, as in `goldcrest-edge | head`
        Err(error) if stream::is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("{}", goldcrest_edge::format_error(error.as_ref())));
            if let Some(ended) = error.downcast_ref::<messages::Ended>() {
                // so that a shell script ends too, instead of running the next command
                let _ = signal_hook::low_level::emulate_default_handler(ended.signal);
            }
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// Returns whether a command has this name.
fn is_command(name: &Path) -> bool {
    let mut cli = Cli::command();
    // adds `help`
    cli.build();
    cli.find_subcommand(name).is_some()
}

/// Prints a line of diagnostics. Failing to write it, say to a full disk, does not change the exit code.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "goldcrest-edge: {line}");
}

/// Prints a result on stdout.
fn print(text: &str) -> anyhow::Result<()> {
    let printed =
        Stdout::buffered().and_then(|mut out| out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    printed.map_err(stream::Error::Write).context("stdout")
}

/// Reports the number of messages that got an error instead of an answer, if any.
fn say_errors(count: u64) {
    if count > 0 {
        say(format_args!("messages that could not be read or classified: {count}"));
    }
}
