//! The TOML that names a whole run, and running it.
//!
//! [`Recipe`] is the file: pure parsing and checking, nothing is opened but the recipe itself.

mod schema;
mod validate;

pub use schema::{Base, DataFiles, Files, Pack, Quantize, Recipe, RecipeError, TaskOptions};

#[cfg(test)]
mod tests;
