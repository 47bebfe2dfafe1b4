//! Evaluation of bundles on labelled texts, and comparison of fp32 and int8: significance, latency, report,
//! gate.
//!
//! [`Evaluation::new`] measures one bundle. [`Comparison::new`] takes the outputs of two models on the same
//! examples; a [`Gate`] accepts or refuses the result.

mod comparison;
mod evaluation;
mod fit;
mod gate;
mod render;
mod run;
mod significance;
mod size_plot;
mod table;

pub use comparison::{
    ClassComparison, CompareError, Comparison, Inputs, Latency, McNemar, Measured, Outputs, Rows,
};
pub use evaluation::{ClassEvaluation, Evaluation};
pub use fit::{DecisionOptions, Fitted, describe_decision, fit_decision};
pub use gate::{ClassDrop, Gate, Refusal};
pub use run::{BundleError, BundleRun, bundle_latency, run_bundle, run_texts};
pub use significance::{Interval, bootstrap, mcnemar};
pub use size_plot::{Point, size_plot};

#[cfg(test)]
mod tests;
