//! Students: construction from a teacher's layers, and what they learn from it.

mod objective;
mod options;
mod student;

pub use objective::FromTeacher;
pub use options::{Distill, Layers};
pub use student::{chosen_layers, cut_layers};
