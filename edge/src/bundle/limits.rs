//! All limits of the format. The reader refuses a bundle that exceeds one before it reads any further; the
//! writer refuses to write it.

/// Maximum bytes of a whole bundle (BERT-large in fp32 has 1.34 GB).
pub const FILE: u64 = 1 << 31;
/// Maximum bytes of the encoded manifest.
pub const MANIFEST: u32 = 256 << 10;
/// Maximum number of sections.
pub const SECTIONS: u32 = super::section::ALL.len() as u32;
/// Maximum bytes of a section's name.
pub const SECTION_NAME: usize = 24;
/// Maximum number of labels, and so of logits.
pub const LABELS: usize = crate::decision::MAX_CLASSES;
/// Maximum bytes of one label.
pub const LABEL: usize = 128;
/// Maximum bytes of any other text in the manifest.
pub const TEXT: usize = 4 << 10;
/// Maximum number of measurements in the manifest.
pub const MEASURED: usize = 16;
/// Maximum sequence length in tokens, special tokens included.
pub const TOKENS: u32 = crate::tokenizer::capacity::MAX_TOKENS as u32;
/// Maximum number of windows per text.
pub const WINDOWS: u32 = 4096;
/// Maximum bytes of the graph with its constants below 1 KiB (12 layers take 300 KB, so 80 fit). Decoded, it may
/// take 16 MiB, and while it is decoded three times as much; a graph that would take more is refused before.
pub const MODEL: u64 = 2 << 20;
/// Maximum bytes of the vocabulary.
pub const VOCABULARY: u64 = 8 << 20;
/// Maximum bytes of the encoded golden messages.
pub const GOLDEN_BYTES: u64 = 1 << 20;
/// Maximum number of golden messages.
pub const GOLDEN: usize = 1024;
