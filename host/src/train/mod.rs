//! Training: optimizer, learning-rate schedule, loop, checkpoints and resumption.
//!
//! [`train`](fn@train) runs one [`Job`]: any [`Objective`] over [`Encoded`] texts. The result depends only on
//! the job and the processor's instructions, not on the number of threads: a killed run resumes from its last
//! saved state and ends with the same weights.

mod adamw;
mod adversarial;
mod answers;
mod average;
mod encoded;
mod error;
mod head;
mod job;
mod log;
mod objective;
mod one_vs_rest;
mod options;
mod predictor;
mod prototypes;
mod run;
mod saved;
mod soup;
mod state;
mod target_scale;
mod update;

pub use adamw::AdamW;
pub use answers::{Answers, predict, predict_with_vectors, sentence_vectors, soft_labels};
pub use encoded::Encoded;
pub use error::Error;
pub use head::set_head;
pub use job::{Criterion, Event, Job, Summary};
pub use objective::{Objective, Supervised};
pub use options::{ClassWeights, PrecisionRule, Schedule, TrainOptions, WeightRule};
pub use predictor::Predictor;
pub(crate) use run::{LOG, STATE, standard_error};
pub use run::{remove_state, train};
pub use soup::soup;
pub use target_scale::TargetScale;

#[cfg(test)]
mod test_support;
