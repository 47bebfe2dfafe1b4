//! Logits to probabilities, thresholds, top-k.
