//! The TOML that names a whole run, and running it.
//!
//! [`Recipe`] is the file: pure parsing and checking, nothing is opened but the recipe itself. [`run`](fn@run) makes
//! everything it names.

mod ask;
mod aware;
mod base;
mod for_data;
mod golden;
mod lengths;
mod name;
mod pack;
mod pairs;
mod prepare;
mod run;
mod schema;
mod shrink;
mod sides;
mod step;
mod students;
mod unknown;
mod validate;
mod wider;
mod windows;

pub use for_data::ForData;
pub use run::{Finished, Progress, RunError, Stages, Until, check, run, run_every_stage};
pub use schema::{
    Aware, Base, Compare, DataFiles, Files, Head, Pack, Pooler, Quantize, Recipe, RecipeError, TaskOptions,
};
pub use shrink::{Shrink, shrink};

#[cfg(test)]
mod tests;
