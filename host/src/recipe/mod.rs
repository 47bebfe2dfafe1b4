//! The TOML that names a whole run, and running it.
