//! The one file a device runs: layout, manifest, reader, writer.
