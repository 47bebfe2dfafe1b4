//! `goldcrest-edge verify`
use super::say;
use super::source::BundleArgs;
use anyhow::{Context, Result};
use goldcrest_edge::{Classifier, Options};
use std::io::{Write, stdout};

/// Check that a bundle is intact and loads, and that its golden messages give their logits bit for bit
///
/// Exits with 0, or with 1 and the reason.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  goldcrest-edge verify --bundle new.bundle && mv new.bundle sentiment.bundle"
)]
pub struct Args {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Print nothing if all is well and answers were compared
    #[arg(long, short)]
    quiet: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let opened = args.bundle.open()?;
    // verifies the embedded bundle too, which is trusted elsewhere
    let bundle = opened.read().with_context(|| args.bundle.name())?;
    let golden = bundle.golden().with_context(|| args.bundle.name())?;
    let mut classifier =
        Classifier::from_mapped(&bundle, &opened, &Options::default()).with_context(|| args.bundle.name())?;
    classifier.self_test(&golden).with_context(|| args.bundle.name())?;
    if args.quiet {
        if golden.is_empty() {
            say(format_args!("{} holds no golden messages: no answer was compared", args.bundle.name()));
        }
    } else {
        let (manifest, count) = (bundle.manifest(), golden.len());
        let compared = match count {
            0 => "but no answer was compared: it holds no golden messages".to_owned(),
            _ => format!("and {count} of {count} golden messages give their logits bit for bit"),
        };
        writeln!(stdout(), "{} {}: whole, {compared}", manifest.name, manifest.version)?;
    }
    Ok(())
}
