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
//! Each part can be used by itself, too. This fine-tunes `models/base` on a few texts:
//!
//! ```
//! use goldcrest::bert::{Checkpoint, Classifier, InputFormat};
//! use goldcrest::data::{Dataset, Example, Labels, Target, Task};
//! use goldcrest::export;
//! use goldcrest::train::{self, Encoded, Job, Supervised, TrainOptions};
//! use std::path::Path;
//!
//! # let base = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/base"));
//! # let temporary = tempfile::tempdir()?;
//! # let folder = temporary.path();
//! # #[cfg(any())]
//! let (base, folder) = (Path::new("models/base"), Path::new("runs/lamp"));
//! let texts = [("switch on the lamp", 1), ("it is too dark", 1), ("lights out", 0), ("turn the lamp off", 0)];
//! let examples = texts.map(|(text, label)| Example::new(text, Target::Class(label)));
//! let labels = Labels::ordered(vec!["off".into(), "on".into()])?;
//! let data = Dataset::new(Task::SingleLabel, labels, examples.to_vec())?;
//!
//! let input = InputFormat { max_tokens: 16, pairs: false, windows: None };
//! let mut checkpoint = Checkpoint::load(base)?;
//! checkpoint.prepare_for(&data, input);
//! let texts = Encoded::new(data, &checkpoint.tokenizer, input.max_tokens)?;
//! let mut model = Classifier::new(checkpoint, 1)?;
//! train::set_head(&mut model, &texts)?;
//!
//! let options = TrainOptions { epochs: Some(10.0), ..TrainOptions::default() };
//! let objective = &Supervised::new(&texts.data, &options)?;
//! // names everything that decides the result: a state that another job left in the folder is not resumed from
//! let (options, fingerprint) = (&options, "the four texts, models/base, 10 epochs");
//! let mut job = Job { model: &mut model, train: &texts, dev: None, options, objective, folder, fingerprint };
//! train::train(&mut job, &mut |_| ())?;
//!
//! let logits = train::predict(&model, &texts, &mut |_| ())?;
//! println!("{logits:?}");
//! std::fs::write(folder.join("lamp.onnx"), export::fp32(&model.checkpoint())?.to_bytes())?;
//! # assert!(logits[0] < logits[1] && logits[4] > logits[5], "{logits:?}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`train::Predictor`] classifies text by text with such a model, a
//! [`Classifier`](goldcrest_edge::Classifier) with a bundle of it.
//!
//! Errors say their cause in their own text, and have no `source` that says it again; `goldcrest_edge::format_error`
//! prints them like the program does.
//! Parallel work runs on rayon's global pool. The `cli` feature (on by default) builds the `goldcrest`
//! program.

pub mod bert;
pub mod data;
pub mod distill;
pub mod evaluate;
pub mod export;
mod hex;
mod listed;
pub mod metrics;
pub mod pretrain;
pub mod quantize;
mod ranges;
pub mod recipe;
mod spread;
pub mod train;

/// The device's side: bundles, and what runs them.
pub use goldcrest_edge;

use hex::hex;
use listed::listed;
