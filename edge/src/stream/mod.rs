//! Framing, sources and sinks, the classification loop.
