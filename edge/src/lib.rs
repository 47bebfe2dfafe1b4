//! Classifies text on small boards, offline.
//!
//! Data flows one way:
//! message bytes → [`stream`] → [`tokenizer`] → [`model`] → [`decision`] → record.
//! [`bundle`] is the one file all of it is read from; [`kernels`] does the arithmetic; a [`Classifier`] is a
//! bundle loaded.
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
//! }
//! # assert_eq!(outcome.decision.ranked().next().map(|(class, _)| &*outcome.labels[class]), Some("PlayMusic"));
//! # Ok::<(), goldcrest_edge::classifier::Error>(())
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | none | [`bundle`], [`tokenizer`], [`kernels`] and [`decision`], against `core` and `alloc` alone |
//! | `std` | `std`'s errors and detection of the processor |
//! | `runtime` | [`Classifier`], [`model`] and [`stream`]: tract, files, sockets and signals of an operating system |
//! | `cli` (default) | the program `goldcrest-edge` |
//! | `embedded` (default) | the model inside that program |
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

/// Its Rust compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
