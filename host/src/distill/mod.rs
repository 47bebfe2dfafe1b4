//! Students: construction and losses.
