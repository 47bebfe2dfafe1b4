//! Classifies text on small boards, offline.
//!
//! Data flows one way:
//! message bytes → [`stream`] → [`tokenizer`] → [`model`] → [`decision`] → record.
//! Everything that a model needs is in one file, a [`bundle`]; a [`Classifier`] is a loaded one. [`kernels`]
//! does the arithmetic.
//!
//! ```
//! use goldcrest_edge::decision::Answer;
//! use goldcrest_edge::{Classifier, Options};
//!
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/commands/commands.bundle");
//! # #[cfg(any())]
//! let path = "commands.bundle";
//! let mut classifier = Classifier::open(path, &Options::default())?;
//! let outcome = classifier.classify("play some jazz", None)?;
//! match outcome.decision.answer() {
//!     Answer::Class { class, score } => println!("{} {score:.3}", outcome.labels[class]),
//!     Answer::Abstained => println!("not sure enough"),
//!     Answer::Labels => {
//!         for (class, score) in outcome.decision.labels() {
//!             println!("{} {score:.3}", outcome.labels[class]);
//!         }
//!     }
//!     Answer::Value(number) => println!("{number}"),
//!     Answer::Values => println!("{:?}", outcome.decision.scores()),
//! }
//! # assert_eq!(outcome.decision.ranked().next().map(|(class, _)| &*outcome.labels[class]), Some("PlayMusic"));
//! # Ok::<(), goldcrest_edge::classifier::Error>(())
//! ```
//!
//! A bundle can be part of the program: with `static BUNDLE: &[u8] = include_bytes!("commands.bundle")`, it is
//! `Classifier::new(BUNDLE, &Options::default())`.
//!
//! Errors say their cause in their own text, and have no `source` that says it again; [`format_error`] prints them like
//! the program does.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | none | [`bundle`], [`tokenizer`], [`kernels`] and [`decision`], using only `core` and `alloc` |
//! | `std` | saving bundles, detection of the processor's instruction sets at run time |
//! | `runtime` | [`Classifier`], [`model`] and [`stream`], which need tract and an operating system |
//! | `cli` (default) | the program `goldcrest-edge` |
//! | `embedded` (default) | the model inside that program |
#![cfg_attr(not(feature = "std"), no_std)]
extern crate alloc;

pub mod bundle;
#[cfg(feature = "runtime")]
pub mod classifier;
pub mod decision;
#[cfg(feature = "std")]
mod format_error;
pub mod kernels;
#[cfg(feature = "runtime")]
pub mod model;
#[cfg(feature = "runtime")]
pub mod stream;
pub mod tokenizer;

#[cfg(feature = "runtime")]
pub use classifier::{Classifier, Options, Outcome};
#[cfg(feature = "std")]
pub use format_error::format_error;

/// Compiles the Rust examples in README.md as doctests.
#[cfg(all(doctest, feature = "runtime"))]
#[doc = include_str!("../../README.md")]
struct Readme;
