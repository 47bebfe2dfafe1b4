//! `goldcrest-edge verify`
use super::source::ModelArgs;
use anyhow::{Context, Result};
use goldcrest_edge::Classifier;
use goldcrest_edge::bundle::Bundle;
use std::io::{Write, stdout};

/// Exits with 0, or with 1 and the reason.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  goldcrest-edge verify --bundle new.bundle && mv new.bundle sentiment.bundle"
)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Print nothing if all is well
    #[arg(long, short)]
    quiet: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let opened = args.model.bundle.open()?;
    // the embedded one too, which is trusted elsewhere
    let bundle = Bundle::read(opened.bytes()).with_context(|| args.model.bundle.name())?;
    let golden = bundle.golden().with_context(|| args.model.bundle.name())?;
    let mut classifier = Classifier::from_mapped(&bundle, &opened, &args.model.options())
        .with_context(|| args.model.bundle.name())?;
    classifier.self_test(&golden).with_context(|| args.model.bundle.name())?;
    if golden.is_empty() && !args.quiet {
        eprintln!(
            "goldcrest-edge: {} holds no golden messages: no answer was compared",
            args.model.bundle.name()
        );
    }
    if !args.quiet {
        let (manifest, count) = (bundle.manifest(), golden.len());
        writeln!(
            stdout(),
            "{} {}: whole, and {count} of {count} golden messages give their logits bit for bit",
            manifest.name,
            manifest.version,
        )?;
    }
    Ok(())
}
