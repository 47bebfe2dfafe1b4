//! Bundles: a bundle is the single file that holds everything a device runs.
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
//! | 32 | 32 s | section table; each entry: name (24 bytes, zero padded), size (8 bytes) |
//! | 32 + 32 s | m | manifest ([postcard](https://postcard.jamesmunns.com/wire-format)) |
//! | aligned | | the sections in the order of the table; the writer puts zeros between them |
//! | body | 32 | SHA-256 of the SHA-256 digests of the body's parts; all but the last have 1 MiB |
//! | body + 32 | 4 | number of signatures: 0 in this version |
//!
//! The file ends there. The offset of a section follows from the sizes before it, so sections cannot overlap.
//! [`Bundle::read`] checks the lengths against each other and against [`limits`], then the digest, and only
//! then parses anything.
//!
//! Reading needs only `core` and `alloc`. Feature `std` adds [`save`], feature `runtime` [`map`].

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
pub use map::{Mapped, OpenError, is_bundle, map};
pub use read::{Bundle, Error};
#[cfg(feature = "std")]
pub use save::{save, temporary_writer};
pub use write::{WriteError, write};

/// Version of the layout and of the manifest's fields that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 2;

/// Names of the sections.
pub(crate) mod section {
    /// The graph in ONNX.
    pub const MODEL: &str = "model.onnx";
    /// External tensors of the graph. Absent if the graph holds all tensors itself.
    pub const EXTERNAL: &str = "model.onnx.data";
    /// The word pieces, one per line.
    pub const VOCABULARY: &str = "vocab.txt";
    /// Golden messages and the logits they must give, encoded with postcard.
    pub const GOLDEN: &str = "golden";
    /// All sections, with the maximum bytes of each.
    pub(super) const ALL: [(&str, u64); 4] = [
        (MODEL, super::limits::MODEL),
        (EXTERNAL, super::limits::FILE),
        (VOCABULARY, super::limits::VOCABULARY),
        (GOLDEN, super::limits::GOLDEN_BYTES),
    ];
}
