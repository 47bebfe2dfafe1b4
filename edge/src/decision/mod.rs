//! Turns logits into an answer: probabilities, temperature, thresholds, abstention, ranking. Uses fixed
//! memory, and the kernels' own exponential so that scores have the same bits on every processor.
//!
//! ```
//! use goldcrest_edge::decision::{Answer, Decider, Settings, Task};
//! let mut decider = Decider::new(Task::SingleLabel, 2, &Settings::default())?;
//! let decision = decider.decide(&[0.5, 3.5])?;
//! assert!(matches!(decision.answer(), Answer::Class { class: 1, score } if score > 0.95));
//! # Ok::<(), goldcrest_edge::decision::Error>(())
//! ```
mod decider;
mod settings;

pub use decider::{Answer, Decider, Decision};
pub use settings::{Abstention, Error, Settings, Task, UnknownTask};

/// Maximum number of classes, and so of logits: the capacity of all buffers in this module.
pub const MAX_CLASSES: usize = 512;
