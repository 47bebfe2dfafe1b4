//! Optimizer, schedule, loop, metrics, checkpoint and resume.
