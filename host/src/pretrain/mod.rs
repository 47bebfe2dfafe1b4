//! Pretraining: what a base learns from unlabelled texts before it is fine-tuned.
//!
//! A sentence encoder has only read one text at a time, and cannot compare two that it reads together. Here
//! it learns to, as its own teacher: the target is the similarity of the vectors that it gives the two texts
//! separately. Bases made by `scripts/teach-base`, such as `models/base`, have already learned this.

mod edit;
mod pairs;

pub use pairs::pairs;
