//! The TOML that names a whole run, and running it.
//!
//! [`Recipe`] is the file: pure parsing and checking, nothing is opened but the recipe itself.

mod schema;
mod validate;

pub use schema::{
    Base, ClassWeights, DataFiles, Distill, Files, Layers, Pack, Quantize, Recipe, RecipeError, Schedule,
    TaskOptions, TrainOptions, WeightRule,
};

#[cfg(test)]
mod tests;
