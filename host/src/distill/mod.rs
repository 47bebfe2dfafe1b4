//! Distillation: how students are cut out of a teacher, the transfer set, and the loss.

mod cut;
mod importance;
mod layers;
mod ngrams;
mod objective;
mod options;
mod pieces;
mod sizes;
mod transfer;
mod vocabulary;

pub use cut::{cut_layers, cut_widths, factorise_embeddings};
pub use importance::{Importance, LayerImportance, importance};
pub use layers::{best_layers, chosen_layers};
pub use ngrams::NgramModel;
pub use objective::{FromTeacher, HiddenTeacher, Imitation};
pub use options::{Distill, Layers, Stage};
pub use sizes::{Plan, Size};
pub use transfer::{Augment, TransferSet};
pub use vocabulary::{Pruned, piece_counts, prune_vocabulary};
