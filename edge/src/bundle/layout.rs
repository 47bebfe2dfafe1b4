//! Offsets shared by reader and writer.

/// First bytes of every bundle. Like PNG's, it shows when a transfer mangled line ends or the eighth bit.
pub const MAGIC: [u8; 8] = *b"\x89GCB\r\n\x1a\n";
pub const HEADER: u64 = 32;
pub const TABLE_ENTRY: u64 = 32;
pub const ALIGNMENT: u64 = 64;
pub const DIGEST: u64 = 32;
/// Digest and number of signatures.
pub const TRAILER: u64 = DIGEST + 4;

/// Where the manifest starts in a bundle of `sections` sections.
pub const fn manifest_offset(sections: u32) -> u64 {
    HEADER + TABLE_ENTRY * sections as u64
}

/// The next multiple of [`ALIGNMENT`]. Saturates: a length that large exceeds every limit anyway.
pub const fn align(offset: u64) -> u64 {
    offset.saturating_add(ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
}
