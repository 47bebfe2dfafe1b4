//! Readers, label maps, splits, batches.
