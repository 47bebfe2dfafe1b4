//! Recipes: the TOML file that describes a whole run, and running it.
//!
//! [`Recipe`] is the parsed and checked file; parsing opens no other file. [`run`](fn@run) carries it out.

mod base;
mod check;
mod compare;
mod contents;
mod coverage;
mod error;
mod for_data;
mod golden;
mod half_precision;
mod lengths;
mod load;
mod lock;
mod name;
mod ngram_teacher;
mod original;
mod pack;
mod prepare;
mod progress;
mod quantization_aware;
mod run;
mod schema;
mod shrink;
mod splits;
mod step;
mod students;
mod teacher_answers;
mod teachers;
mod validate;
mod windows;
mod within_limits;
mod without_ngrams;

pub use error::RunError;
pub use for_data::ForData;
pub use load::RecipeError;
pub use name::{BUNDLE_NAME, is_bundle_name};
pub use progress::Progress;
pub use run::{Finished, Packed, Until, run, run_every_stage, run_for_data};
pub use schema::{Aware, Base, Compare, DataFiles, Files, Head, Pack, Pooler, Quantize, Recipe, TaskOptions};
pub use shrink::{Shrink, shrink};

#[cfg(test)]
mod tests;
