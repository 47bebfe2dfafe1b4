//! Messages in, records out.
//!
//! [`Lines`] splits a source into messages, one per line. A [`Sink`] reads each message in chunks of valid
//! UTF-8, so that a message of any length takes constant memory. [`Records`] is the sink that classifies;
//! [`ThreadedRecords`] does so on several threads. Nothing here allocates after construction.
mod interrupt;
mod lines;
mod message;
mod record;
mod records;

pub use interrupt::Interrupt;
pub use lines::{End, Lines, Sink};
pub use message::{Chunk, Error, Message, Source};
pub use record::{Format, write_error};
pub use records::{MessageError, Options, Records, ThreadedRecords, feed};
