use super::ReportArgs;
use super::data_args::DataArgs;
use goldcrest::data::Task;
use goldcrest::evaluate::{Comparison, Gate, Inputs, describe_decision, run_bundle};
use goldcrest::metrics::Metric;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Example:
  goldcrest compare runs/voice/voice.fp32.bundle runs/voice/voice.bundle messages.csv --max-drop 0.5")]
pub struct Args {
    /// The bundle in full precision
    fp32: PathBuf,
    /// The bundle in int8
    int8: PathBuf,
    /// Fail if int8 loses more than this many points of the metric
    #[arg(long, value_parser = super::points)]
    max_drop: Option<f64>,
    /// Fail if int8 loses more than this many points of F1 in any class
    #[arg(long, value_parser = super::points)]
    max_drop_per_class: Option<f64>,
    /// The metric, such as macro-f1 [default: the one that the int8 bundle was measured by]
    #[arg(long)]
    metric: Option<Metric>,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    data: DataArgs,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let (manifest, data) = args.data.read_like(&args.int8)?;
    if args.max_drop_per_class.is_some() && manifest.task == Task::Regression {
        let problem = "this bundle answers with numbers: --max-drop-per-class does not apply";
        return Err(super::Usage(problem.into()).into());
    }
    let measure = |path: &Path| run_bundle(path, &data, &mut || ());
    let (fp32, int8) = (measure(&args.fp32)?, measure(&args.int8)?);
    let mut comparison = Comparison::new(&Inputs {
        data: &data,
        metric: args.metric.or_else(|| manifest.measured.first()?.metric.parse().ok()),
        fp32: fp32.outputs(),
        int8: int8.outputs(),
        host: None,
    })?;
    comparison.fitted = Some(describe_decision(&int8.decision, &data, &int8.logits, None));
    // decide before printing: a reader that closes the pipe must not make a bundle pass
    let gate = Gate { max_drop: args.max_drop, max_drop_per_class: args.max_drop_per_class };
    let verdict = gate.check(&comparison);
    let shown = args.report.print(&comparison, &comparison.text(), &comparison.markdown());
    verdict?;
    shown
}
