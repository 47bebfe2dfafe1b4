//! Where bundles and messages come from.
use super::{Usage, say};
use anyhow::{Context, Result};
use clap::Args;
use goldcrest_edge::bundle::{self, Bundle, Manifest, Mapped};
use goldcrest_edge::stream::{self, End, Interrupt, Lines, Sink};
use goldcrest_edge::{Classifier, Options, told_once};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Which bundle.
#[derive(Args)]
pub struct BundleArgs {
    /// The bundle to use instead of the embedded model
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}

/// Which model, and how to run it.
#[derive(Args)]
pub struct ModelArgs {
    #[command(flatten)]
    pub bundle: BundleArgs,
    /// Run the whole model on stock operators, as an oracle for the fused ones
    #[arg(long)]
    pub stock: bool,
}

impl BundleArgs {
    /// The name under which messages speak of the bundle.
    pub fn name(&self) -> String {
        self.bundle.as_ref().map_or("the embedded model".into(), |path| path.display().to_string())
    }

    pub fn open(&self) -> Result<Mapped> {
        match &self.bundle {
            Some(path) => {
                let mapped = bundle::map(path)?;
                mapped.end_where_pages_are_gone("goldcrest-edge")?;
                Ok(mapped)
            }
            None => Ok(Mapped::embedded(embedded()?)),
        }
    }

    pub fn read<'a>(&self, opened: &'a Mapped) -> Result<Bundle<'a>> {
        let bundle = match &self.bundle {
            Some(_) => opened.read(),
            None => Bundle::read_trusted(opened.bytes()),
        };
        bundle.with_context(|| self.name())
    }
}

impl ModelArgs {
    pub fn load(&self) -> Result<Classifier> {
        let opened = self.bundle.open()?;
        let bundle = self.bundle.read(&opened)?;
        Classifier::from_mapped(&bundle, &opened, &self.options()).with_context(|| self.bundle.name())
    }

    pub fn options(&self) -> Options {
        Options { fuse: !self.stock }
    }
}

/// The embedded bundle, aligned like a mapped one.
#[cfg(feature = "embedded")]
fn embedded() -> Result<&'static [u8], Usage> {
    #[repr(C, align(64))]
    struct Aligned<T: ?Sized>(T);
    static EMBEDDED: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../models/sentiment/sentiment.bundle"));
    Ok(&EMBEDDED.0)
}

#[cfg(not(feature = "embedded"))]
fn embedded() -> Result<&'static [u8], Usage> {
    Err(Usage("this binary was built without a model: name one with --bundle FILE".into()))
}

/// What parts two texts of a line: `TAB`, or any one character.
pub fn parse_separator(text: &str) -> Result<char, String> {
    let mut characters = text.chars();
    match (text, characters.next(), characters.next()) {
        ("TAB" | "tab" | "\\t", ..) => Ok('\t'),
        (_, Some('\n'), None) => Err("a line end already parts messages".into()),
        (_, Some(character), None) => Ok(character),
        _ => Err("give TAB or one character".into()),
    }
}

/// Errors unless a model of pairs is given pairs, and one of texts texts.
pub fn check_pair(manifest: &Manifest, separator: Option<char>) -> Result<(), Usage> {
    match (manifest.pair, separator) {
        (true, None) => {
            Err(Usage("this model compares two texts: give --text-pair TAB, and two texts a line".into()))
        }
        (false, Some(_)) => Err(Usage("this model takes one text: --text-pair does not apply".into())),
        _ => Ok(()),
    }
}

/// Gives all lines of `files` (`-`, or none at all: stdin) to `sink`. A file that cannot be read keeps no other from being read.
pub fn run_lines(files: &[PathBuf], sink: &mut impl Sink) -> Result<()> {
    let interrupt = Interrupt::on_signals(0, 1)?;
    let mut lines = Lines::default();
    let stdin = [PathBuf::from("-")];
    let files = if files.is_empty() { &stdin } else { files };
    let mut failed = Vec::new();
    for (number, path) in (1..).zip(files) {
        let name = || if path == Path::new("-") { "stdin".into() } else { path.display().to_string() };
        let ended = if path == Path::new("-") {
            // without the buffer of the standard library, which would hide what is there
            match io::stdin().as_fd().try_clone_to_owned() {
                Ok(stdin) => lines.run(&mut File::from(stdin), sink, &interrupt),
                Err(error) => Err(stream::Error::Read(error)),
            }
        } else {
            // a pipe with a name waits for whoever writes into it
            match interrupt.wait(|| File::open(path)) {
                Some(Ok(mut file)) => lines.run(&mut file, sink, &interrupt),
                Some(Err(error)) => {
                    failed.push(anyhow::Error::from(error).context(name()));
                    continue;
                }
                None => Ok(End::Interrupted { unanswered: 0 }),
            }
        };
        match ended {
            Ok(End::Source) => {}
            Ok(End::Interrupted { unanswered }) => {
                say_ended(&name(), unanswered, files.len() - number, path == Path::new("-"));
                break;
            }
            Err(error @ stream::Error::Read(_)) => failed.push(anyhow::Error::from(error).context(name())),
            Err(error @ stream::Error::Write(_)) => return Err(error).context("stdout"),
            // not of the messages
            Err(error) => return Err(error.into()),
        }
    }
    // the last one is returned, and told of by whoever tells of all errors
    let last = failed.pop();
    for error in failed {
        say(format_args!("{}", told_once(error.as_ref())));
    }
    last.map_or(Ok(()), Err)
}

/// What a signal kept from being answered. Of stdin nobody knows how much more there would have been.
fn say_ended(name: &str, unanswered: u64, files_left: usize, stdin: bool) {
    if stdin && unanswered == 0 && files_left == 0 {
        return;
    }
    let read = match unanswered {
        0 => String::new(),
        bytes => format!(", {bytes} bytes that were read have no answer"),
    };
    let left = match files_left {
        0 => String::new(),
        1 => ", and 1 more file was not read".into(),
        files => format!(", and {files} more files were not read"),
    };
    say(format_args!("ended by a signal within {name}{read}{left}"));
}
