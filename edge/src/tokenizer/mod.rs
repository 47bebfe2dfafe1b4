//! The BERT tokenizer in fixed memory.
