//! Messages in, records out.
//!
//! [`Lines`] splits a source into messages, one per line. A [`Sink`] reads each message in chunks of valid
//! UTF-8, so that a message of any length takes constant memory. [`Records`] is the sink that classifies;
//! [`ThreadedRecords`] does so on several threads. With a fused model,
//! nothing here allocates after construction.
//!
//! ```no_run
//! use goldcrest_edge::format_error;
//! use goldcrest_edge::stream::{Interrupt, Lines, Options, Records};
//! use std::io::BufWriter;
//!
//! # let options = goldcrest_edge::Options::default();
//! # let mut classifier = goldcrest_edge::Classifier::open("commands.bundle", &options)?;
//! let listener = std::net::TcpListener::bind("127.0.0.1:7878")?;
//! // another thread with a clone of it can end the wait for a client or its next line
//! let interrupt = Interrupt::new()?;
//! while interrupt.wait_for(&listener) {
//!     let (mut client, _) = listener.accept()?;
//!     let out = BufWriter::new(client.try_clone()?);
//!     let mut records = Records::new(&mut classifier, out, Options::default());
//!     if let Err(error) = Lines::default().run(&mut client, &mut records, &interrupt) {
//!         eprintln!("{}", format_error(&error));
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod interrupt;
mod lines;
mod message;
mod open;
mod record;
mod records;
mod stdout;

pub use interrupt::{Interrupt, survive_file_size_limit};
pub use lines::{End, Lines, Sink};
pub use message::{Chunk, Error, Message, Source, is_broken_pipe};
pub use open::open;
pub use record::{Format, write_error, write_record};
pub use records::{MessageError, Options, Records, ThreadedRecords, feed};
pub use stdout::Stdout;
