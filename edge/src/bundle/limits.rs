//! Every limit of the format in one place. The reader refuses what exceeds one before it looks further,
//! the writer refuses to write it.

/// Bytes of a whole bundle (BERT-base in fp32 has 440 MB).
pub const FILE: u64 = 1 << 30;
/// Bytes of the encoded manifest.
pub const MANIFEST: u32 = 256 << 10;
/// Sections of a bundle.
pub const SECTIONS: u32 = 16;
/// Bytes of a section's name.
pub const SECTION_NAME: usize = 24;
/// Labels, and so logits.
pub const LABELS: usize = crate::decision::MAX_CLASSES;
/// Bytes of one label.
pub const LABEL: usize = 128;
/// Bytes of any other text of the manifest.
pub const TEXT: usize = 4 << 10;
/// Measurements listed in the manifest.
pub const MEASURED: usize = 16;
/// Word pieces of one window, special tokens included.
pub const TOKENS: u32 = 512;
/// Windows of one long text.
pub const WINDOWS: u32 = 4096;
/// Bytes of the graph and its constants below 1 KiB (12 layers have 300 KB). Decoded they take a hundred times as much.
pub const MODEL: u64 = 4 << 20;
/// Bytes of the vocabulary.
pub const VOCABULARY: u64 = 8 << 20;
/// Bytes of the encoded golden messages.
pub const GOLDEN_BYTES: u64 = 1 << 20;
/// Golden messages.
pub const GOLDEN: usize = 1024;
