//! Commands of the device binary. Results go to stdout, diagnostics to stderr.
mod bench;
mod classify;
mod inspect;
mod source;
mod tokenize;
mod verify;

use clap::{CommandFactory, Parser, Subcommand};
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Classifies text, offline. Reads messages, one a line, and writes a record for each.
///
/// Without a command it is `classify`; without --bundle it uses the model embedded in the binary.
/// Exit codes: 0 done, 1 failed, 2 wrong usage. SIGTERM and SIGINT finish the message in hand, then exit with 0; a second one ends the
/// program at once.
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
  goldcrest-edge bench --tokens 16,64 --json";

/// More threads than any board has cores; each takes working memory.
const MOST_THREADS: i64 = 256;

/// The command line contradicts itself or the bundle: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let (None, Some(first)) = (&cli.command, cli.classify.first_file())
        && Cli::command().find_subcommand(first).is_some()
        && !first.exists()
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
        // whoever reads has seen enough, as in `goldcrest-edge | head`
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("{}", goldcrest_edge::told_once(error.as_ref())));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// A line of diagnostics. That nobody can read it, on a full disk say, changes no exit code.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "goldcrest-edge: {line}");
}

/// That some messages have an error in place of an answer.
fn say_errors(count: u64) {
    if count > 0 {
        say(format_args!("messages that could not be read or classified: {count}"));
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|error| {
        // a source is never at fault for this one: reading does not give it
        error.kind() == io::ErrorKind::BrokenPipe
    })
}
