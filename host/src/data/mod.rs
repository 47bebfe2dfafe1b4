//! Labelled texts: readers, labels, splits and batches.
//!
//! [`Source`] says where texts are and how they are stored, and [`Dataset::read`] turns sources into
//! examples. [`split`](fn@split) and [`remove_overlap`] keep training and evaluation data apart. [`batches`]
//! orders a training epoch.

mod batch;
mod cells;
mod column_names;
mod column_values;
mod dataset;
mod delimited;
mod detect_columns;
mod detect_format;
mod detect_task;
mod encoding;
mod error;
mod example;
mod from_rows;
mod json;
mod labels;
mod random;
mod records;
mod rows;
mod source;
mod split;
mod unlabelled;
mod warnings;

pub use batch::batches;
pub use dataset::{Dataset, File};
pub use error::{DataError, Place, Warning};
pub(crate) use example::unordered_key;
pub use example::{Example, Target, Text};
pub use goldcrest_edge::decision::Task;
pub use labels::Labels;
pub use random::SplitMix;
pub(crate) use rows::is_invisible;
pub use source::{Column, Format, LabelColumns, Source, UnknownFormat};
pub use split::{Split, remove_overlap, split};
pub use unlabelled::{Texts, is_table, texts, unlabelled};

#[cfg(test)]
mod tests;
