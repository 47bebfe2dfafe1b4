//! From labelled texts to one small file that classifies text on a board.
//!
//! Data flows one way: [`data`] → [`train`] → [`distill`] → [`quantize`] → [`export`] → bundle. [`evaluate`]
//! judges the result, and a [`recipe`] describes the whole run.
//! [`bert`] is the model being trained; [`pretrain`] is what it can learn before fine-tuning.
//!
//! Any program can run a recipe the way `goldcrest run` does:
//!
//! ```no_run
//! use goldcrest::recipe::{self, Progress, Recipe, Until};
//! use goldcrest::train::Event;
//! use std::path::Path;
//!
//! let recipe = Recipe::load(Path::new("host/recipes/voice-commands.toml"))?;
//! let finished = recipe::run(&recipe, Until::Pack, &mut |progress| match progress {
//!     Progress::Step { name, reused } => println!("{name}{}", if reused { ", reused" } else { "" }),
//!     Progress::Note(note) => println!("{note}"),
//!     // `stop.set(true)` ends the run here with `train::Error::Interrupted`; the same call resumes it
//!     Progress::Training(Event::Step { step, loss, stop: _ }) => println!("step {step}: loss {loss}"),
//!     _ => (),
//! })?;
//! println!("{:?}", finished.bundle);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Errors say their cause in their own text; `goldcrest_edge::format_error` prints them like the program does.
//! Parallel work runs on rayon's global pool. The `cli` feature (on by default) builds the `goldcrest`
//! program.

pub mod bert;
pub mod data;
pub mod distill;
pub mod evaluate;
pub mod export;
mod hex;
pub mod metrics;
pub mod pretrain;
pub mod quantize;
mod ranges;
pub mod recipe;
pub mod train;

use hex::hex;
