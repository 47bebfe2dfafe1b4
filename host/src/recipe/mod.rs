//! The TOML that names a whole run, and running it.
//!
//! [`Recipe`] is the file: pure parsing and checking, nothing is opened but the recipe itself. [`run`](fn@run) makes
//! everything it names.

mod base;
mod prepare;
mod run;
mod schema;
mod students;
mod validate;

pub use run::{Finished, Progress, RunError, Until, run};
pub use schema::{Base, DataFiles, Files, Pack, Quantize, Recipe, RecipeError, TaskOptions};

#[cfg(test)]
mod tests;
