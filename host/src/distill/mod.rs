//! Students: construction from a teacher's layers, and what they learn from it.

mod objective;
mod options;
mod student;
mod vocabulary;

pub use objective::FromTeacher;
pub use options::{Distill, Layers};
pub use student::{chosen_layers, cut_layers};
pub use vocabulary::{Pruned, prune_vocabulary};
