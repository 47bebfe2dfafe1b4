//! Messages in, records out.
//!
//! [`Lines`] cuts a source into messages, one a line, and gives them in valid UTF-8 to a [`Sink`], chunk by
//! chunk: a message of any length passes in constant memory. [`Records`] is the sink that classifies.
//! Nothing here allocates after construction.
mod interrupt;
mod lines;
mod record;
mod records;
mod utf8;

pub use interrupt::Interrupt;
pub use lines::{End, Error, Lines, Sink};
pub use record::{Format, write_json_string, write_number};
pub use records::{Classify, Options, Records};
