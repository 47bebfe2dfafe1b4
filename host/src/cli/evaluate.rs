use super::ReportArgs;
use super::data_args::DataArgs;
use goldcrest::evaluate::{Evaluation, run_bundle};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  goldcrest evaluate runs/voice/voice.bundle messages.csv
  goldcrest evaluate models/spam/spam.bundle inbox.tsv --text message --label kind --json")]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    data: DataArgs,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let (_, data) = args.data.read_like(&args.bundle)?;
    let run = run_bundle(&args.bundle, &data, &mut || ())?;
    let evaluation = Evaluation::new(&data, &run)?;
    args.report.print(&evaluation, &evaluation.text(), &evaluation.markdown())
}
