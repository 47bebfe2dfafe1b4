//! The one file a device runs.
//!
//! All integers are little endian; every section starts at a multiple of 64.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | magic `89 'G' 'C' 'B' 0D 0A 1A 0A` |
//! | 8 | 4 | format version |
//! | 12 | 4 | number of sections, `s` |
//! | 16 | 4 | bytes of the manifest, `m` |
//! | 20 | 4 | zero |
//! | 24 | 8 | length of the body: the offset of the digest |
//! | 32 | 32 s | a section each: name (24, zero padded), bytes (8) |
//! | 32 + 32 s | m | manifest ([postcard](https://postcard.jamesmunns.com/wire-format)) |
//! | aligned | | the sections in the order of the table, zeros between them |
//! | body | 32 | SHA-256 of the SHA-256s of the body's parts, each of 1 MiB but the last |
//! | body + 32 | 4 | number of signatures: 0 in this version |
//!
//! The file ends there. Where a section lies follows from the lengths before it, so no table can point
//! two of them to one place. [`Bundle::read`] checks lengths and [`limits`], then the digest, and only then
//! gives a byte to a parser.
//!
//! Reading needs `core` and `alloc` only. Feature `std` adds [`save`], feature `runtime` [`map`].

mod digest;
mod layout;
pub mod limits;
mod manifest;
#[cfg(feature = "runtime")]
mod map;
mod read;
#[cfg(feature = "std")]
mod save;
mod write;

pub use manifest::{Golden, Licence, Manifest, ManifestError, Measured, Windows};
#[cfg(feature = "runtime")]
pub use map::{Mapped, OpenError, map};
pub use read::{Bundle, Error};
#[cfg(feature = "std")]
pub use save::save;
pub use write::{WriteError, write};

/// Version of the layout and of the manifest's fields that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 2;

/// Names of the sections.
pub mod section {
    /// The graph in ONNX.
    pub const MODEL: &str = "model.onnx";
    /// The graph's external tensors. Absent where the graph holds all of them.
    pub const EXTERNAL: &str = "model.onnx.data";
    /// The word pieces, one a line.
    pub const VOCABULARY: &str = "vocab.txt";
    /// Messages with the logits they must give, in postcard.
    pub const GOLDEN: &str = "golden";
    /// What each section may hold at most.
    pub(super) const ALL: [(&str, u64); 4] = [
        (MODEL, super::limits::MODEL),
        (EXTERNAL, super::limits::FILE),
        (VOCABULARY, super::limits::VOCABULARY),
        (GOLDEN, super::limits::GOLDEN_BYTES),
    ];
}
