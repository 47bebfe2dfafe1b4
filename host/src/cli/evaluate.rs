use super::ReportArgs;
use super::data_args::DataArgs;
use anyhow::Context;
use goldcrest::evaluate::{Evaluation, answered_rows, run_bundle, write_answered_rows};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
The columns of --answers: the line, the text or two, its label, the answer (several are joined by |), the score of a
single label, and how little the answer fits the label. To find wrong labels among the texts that the model was trained
on, go by that: it has learned some of them by heart, and its accuracy there says little. This is 1 less the label's probability; of several labels the
largest probability against one of them, 0.5 where it would just be right; of numbers the distance in standard deviations.

Examples:
  goldcrest evaluate runs/voice/voice.bundle messages.csv
  goldcrest evaluate runs/voice/voice.bundle messages.csv --answers answers.csv
  goldcrest evaluate models/spam/spam.bundle inbox.tsv --text message --label kind --json")]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    /// Write every text with its label and answer to a CSV file, the most surprising first: mistakes, or wrong labels
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    data: DataArgs,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(path) = &args.answers {
        if path.as_os_str() == "-" {
            return Err(super::Usage("--answers names a file: the report goes to stdout".into()).into());
        }
        super::check_output(path, [args.bundle.as_path(), &args.data.data])?;
    }
    let (_, data) = args.data.read_like(&args.bundle)?;
    let run = run_bundle(&args.bundle, &data, &mut || ())?;
    let evaluation = Evaluation::new(&data, &run)?;
    // before anything is printed: nobody may be reading
    if let Some(path) = &args.answers {
        let mut csv = Vec::new();
        write_answered_rows(&data, &answered_rows(&data, &run), &mut csv)?;
        goldcrest_edge::bundle::save(path, &csv).with_context(|| path.display().to_string())?;
    }
    args.report.print(&evaluation, &evaluation.text(), &evaluation.markdown())
}
