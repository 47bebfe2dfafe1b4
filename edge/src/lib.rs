//! Classifies text on small boards, offline.
//!
//! Data flows one way:
//! message bytes → [`stream`] → [`tokenizer`] → [`model`] → [`decision`] → record.
//! [`bundle`] is the one file all of it is read from; [`kernels`] does the arithmetic; a [`Classifier`] is a
//! bundle loaded.
//!
//! `bundle` (reading), `tokenizer`, `kernels` and `decision` are written against `core` and `alloc`;
//! the feature `runtime` adds what needs an operating system.
#![cfg_attr(not(feature = "std"), no_std)]
extern crate alloc;

pub mod bundle;
#[cfg(feature = "runtime")]
pub mod classifier;
pub mod decision;
pub mod kernels;
#[cfg(feature = "runtime")]
pub mod model;
#[cfg(feature = "runtime")]
pub mod stream;
pub mod tokenizer;
#[cfg(feature = "std")]
mod told;

#[cfg(feature = "runtime")]
pub use classifier::{Classifier, Options, Outcome};
#[cfg(feature = "std")]
pub use told::told_once;
