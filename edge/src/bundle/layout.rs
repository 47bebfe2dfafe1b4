//! Offsets and sizes shared by the reader and the writer.

/// First bytes of every bundle. As in PNG, they reveal a transfer that changed line ends or cleared the
/// eighth bit.
pub const MAGIC: [u8; 8] = *b"\x89GCB\r\n\x1a\n";
pub const HEADER: u64 = 32;
pub const TABLE_ENTRY: u64 = 32;
pub const ALIGNMENT: u64 = 64;
pub const DIGEST: u64 = 32;
/// Bytes of the digest and the number of signatures.
pub const TRAILER: u64 = DIGEST + 4;

/// Returns the offset of the manifest in a bundle with `sections` sections.
pub const fn manifest_offset(sections: u32) -> u64 {
    HEADER + TABLE_ENTRY * sections as u64
}

/// Rounds up to a multiple of [`ALIGNMENT`]. Saturates: a length that large exceeds every limit anyway.
pub const fn align(offset: u64) -> u64 {
    offset.saturating_add(ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
}
