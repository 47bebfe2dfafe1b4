//! Messages in, records out.
//!
//! [`Lines`] cuts a source into messages, one a line. A [`Sink`] pulls each of them through chunk by chunk, in
//! valid UTF-8, so that a message of any length passes in constant memory. [`Records`] is the sink that
//! classifies, [`Backlog`] the one that does so on several threads. Nothing here allocates after construction.
mod interrupt;
mod lines;
mod message;
mod record;
mod records;

pub use interrupt::Interrupt;
pub use lines::{End, Lines, Sink};
pub use message::{Chunk, Error, Message, Source};
pub use record::{Format, write_error};
pub use records::{Backlog, Failure, Options, Records, feed};
