//! The model for training: configuration, checkpoint, encoder, heads, fused operators.
