//! `goldcrest-edge verify`
use super::bundle::BundleArgs;
use super::{print, say};
use anyhow::{Context, Result};
use goldcrest_edge::Options;

/// Check that a bundle is intact and loads, and that its golden messages give their logits bit for bit
///
/// Exits with 0, or with the reason and 1 (2 if it is the command line or the environment).
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
    let mut classifier = args.bundle.load(&bundle, &opened, &Options::default())?;
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
        print(&format!("{} {}: whole, {compared}\n", manifest.name, manifest.version))?;
    }
    Ok(())
}
