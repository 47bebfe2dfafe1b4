//! What a base learns of texts without labels before it is fine-tuned.
//!
//! A sentence encoder says of each text alone what it is about; of two texts that it reads together it knows nothing. Here it
//! learns to compare them, and is its own teacher: how alike two texts are, it says itself when it reads each alone. What
//! `scripts/teach-base` makes, as `models/base`, has learned that before.

mod compare;
mod edit;

pub use compare::pairs;
