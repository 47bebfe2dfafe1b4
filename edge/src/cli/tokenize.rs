//! `goldcrest-edge tokenize`
use super::bundle::BundleArgs;
use super::messages::{check_pair, parse_separator, run_lines};
use super::{Usage, say_errors};
use anyhow::{Context, Result};
use goldcrest_edge::bundle::{self, Bundle};
use goldcrest_edge::classifier::Input;
use goldcrest_edge::stream::{Error, Format, Message, MessageError, Sink, Stdout, feed, write_error};
use goldcrest_edge::tokenizer::{Encoder, Encoding, Settings, Tokenizer, capacity};
use std::io::{self, Write};
use std::path::PathBuf;

/// Print the token ids of each message as a JSON array
///
/// Includes special tokens. For a text that the model reads in several windows, prints
/// only the ids of the first.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    bundle: BundleArgs,
    /// A vocab.txt to use instead of a bundle
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    vocab: Option<PathBuf>,
    /// Truncate to N tokens, special tokens included [default: the bundle's maximum, or 512]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// With --vocab: keep case and accents
    #[arg(long, requires = "vocab")]
    cased: bool,
    /// With --vocab: turn [SEP] and the like in a text into special tokens
    #[arg(long, requires = "vocab")]
    special_tokens_in_text: bool,
    /// Read two texts per line, with this character (or TAB, or `\t`) between them
    #[arg(long, value_name = "TAB", value_parser = parse_separator)]
    text_pair: Option<char>,
    /// Print no diagnostics except errors
    #[arg(long, short)]
    quiet: bool,
    /// Files of messages; `-`, or no file, means stdin
    files: Vec<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  echo 'what a lovely day' | goldcrest-edge tokenize --vocab vocab.txt
  goldcrest-edge tokenize --bundle mrpc.bundle --text-pair TAB pairs.tsv";

pub fn run(args: &Args) -> Result<()> {
    let (vocabulary, settings, most, name) = match &args.vocab {
        Some(path) => {
            let cased = if args.cased { Settings::cased() } else { Settings::uncased() };
            let settings = Settings { special_tokens_in_text: args.special_tokens_in_text, ..cased };
            // a copy: the file may be written to while waiting for messages
            let mapped = bundle::map(path)?;
            let bytes = mapped.bytes().len();
            if bytes > capacity::MAX_VOCAB_BYTES {
                let error = goldcrest_edge::tokenizer::Error::TooLarge { bytes };
                return Err(error).with_context(|| path.display().to_string());
            }
            let vocabulary = mapped.bytes().to_vec();
            (vocabulary, settings, capacity::MAX_TOKENS, path.display().to_string())
        }
        None => {
            let opened = args.bundle.open()?;
            let bundle: Bundle<'_> = args.bundle.read(&opened)?;
            let manifest = bundle.manifest();
            check_pair(manifest, args.text_pair)?;
            (
                bundle.vocabulary().to_vec(),
                manifest.tokenizer,
                manifest.max_tokens as usize,
                args.bundle.name(),
            )
        }
    };
    let max_tokens = args.max_tokens.unwrap_or(most);
    let least = if args.text_pair.is_some() { 3 } else { 2 };
    if !(least..=capacity::MAX_TOKENS).contains(&max_tokens) {
        let most = capacity::MAX_TOKENS;
        return Err(Usage(format!("--max-tokens is {max_tokens}; it must be {least} to {most}")).into());
    }
    let tokenizer = Tokenizer::new(vocabulary, settings).context(name)?;
    let out = Stdout::buffered()?;
    let separator = args.text_pair;
    let mut ids = Ids { tokenizer, encoding: Encoding::new(), max_tokens, separator, errors: 0, out };
    let ended = run_lines(&args.files, &mut ids);
    if !args.quiet {
        say_errors(ids.errors);
    }
    ended
}

struct Ids<W> {
    tokenizer: Tokenizer<Vec<u8>>,
    encoding: Encoding,
    max_tokens: usize,
    separator: Option<char>,
    /// Messages that could not be read.
    errors: u64,
    out: W,
}

impl<W: Write> Sink for Ids<W> {
    fn message(&mut self, number: u64, message: &mut Message<'_>) -> Result<(), Error> {
        let written = match self.encode(message) {
            Ok(()) => write_ids(&mut self.out, self.encoding.ids()),
            Err(MessageError::Stream(error)) => return Err(error),
            Err(reason) => {
                self.errors += 1;
                write_error(&mut self.out, Format::Jsonl, number, reason)
            }
        };
        written.map_err(Error::Write)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.out.flush().map_err(Error::Write)
    }
}

impl<W> Ids<W> {
    fn encode(&mut self, message: &mut Message<'_>) -> Result<(), MessageError> {
        let encoder = self.tokenizer.encoder(self.max_tokens, &mut self.encoding);
        let mut texts = Texts(encoder.expect("`run` has checked the length"));
        feed(message, self.separator, &mut texts)?;
        texts.0.finish();
        Ok(())
    }
}

/// Encodes what a classifier would read.
struct Texts<'a>(Encoder<'a>);

impl Input for Texts<'_> {
    fn push(&mut self, chunk: &str) {
        self.0.push(chunk);
    }

    fn second_text(&mut self) {
        // cannot fail: it is called once, and `run` has checked that there is room
        let _ = self.0.begin_second();
    }
}

fn write_ids(out: &mut impl Write, ids: &[u32]) -> io::Result<()> {
    for (i, id) in ids.iter().enumerate() {
        write!(out, "{}{id}", if i > 0 { "," } else { "[" })?;
    }
    out.write_all(b"]\n")
}
