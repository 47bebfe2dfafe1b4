//! Evaluation of bundles on labelled texts, and comparison of fp32 and int8: significance, latency, report,
//! gate.
//!
//! [`Evaluation::new`] measures one bundle. [`Comparison::new`] takes the outputs of two models on the same
//! examples; a [`Gate`] accepts or refuses the result.
//!
//! ```no_run
//! use goldcrest::data::{Dataset, Labels, Source};
//! use goldcrest::evaluate::{Evaluation, run_bundle};
//! use goldcrest_edge::bundle;
//! use std::path::Path;
//!
//! let path = Path::new("models/commands/commands.bundle");
//! let manifest = bundle::map(path)?.read()?.manifest().clone();
//! let labels = Some(Labels::ordered(manifest.labels)?);
//! let data = Dataset::read_to_measure(&[Source::new("requests.csv")], Some(manifest.task), labels)?;
//! let run = run_bundle(path, &data, &mut || ())?;
//! println!("{}", Evaluation::new(&data, &run)?.text());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answered;
mod comparison;
mod evaluation;
mod fit;
mod gate;
mod render;
mod run;
mod significance;
mod size_plot;
mod table;

pub use answered::{AnsweredRow, answer_in_a_cell, answered_rows, write_answered_rows};
pub use comparison::{
    ClassComparison, CompareError, Comparison, Inputs, Latency, McNemar, Measured, NumberComparison, Outputs,
    Rows,
};
pub use evaluation::{ClassEvaluation, Evaluation, NumberEvaluation};
pub use fit::{DecisionOptions, Fitted, describe_decision, fit_decision};
pub use gate::{ClassDrop, Gate, Refusal};
pub use run::{BundleError, BundleRun, bundle_latency, run_bundle, run_texts};
pub use significance::{Interval, bootstrap, mcnemar, paired_shares};
pub use size_plot::{Point, size_plot};

#[cfg(test)]
mod tests;
