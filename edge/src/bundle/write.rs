//! Writing of bundles.
use super::digest::digest;
use super::layout::{HEADER, MAGIC, TRAILER, align, manifest_offset};
use super::read::check_golden;
use super::{FORMAT_VERSION, Golden, Manifest, ManifestError, limits, section};
use alloc::vec::Vec;

/// Why a bundle cannot be written. [`super::Bundle::read`] accepts every bundle that is written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The manifest is invalid.
    #[error("manifest: {0}")]
    Manifest(ManifestError),
    /// The golden messages do not fit the manifest.
    #[error("golden messages: {0}")]
    Golden(&'static str),
    /// Something exceeds its limit in [`limits`].
    #[error("{what} has {bytes} bytes, the limit is {limit}")]
    Oversized {
        /// The name of a section, the manifest, or the whole bundle.
        what: &'static str,
        /// Its length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
}

/// Returns the bytes of a bundle with this manifest, graph, external tensors (empty if there are none),
/// vocabulary (the text of a `vocab.txt`) and golden messages.
///
/// # Errors
/// [`WriteError`]: what [`super::Bundle::read`] would refuse is not written.
pub fn write(
    manifest: &Manifest,
    model: &[u8],
    external: &[u8],
    vocabulary: &[u8],
    golden: &[Golden],
) -> Result<Vec<u8>, WriteError> {
    manifest.check().map_err(WriteError::Manifest)?;
    check_golden(manifest, golden).map_err(WriteError::Golden)?;
    let manifest = encode("manifest", manifest, limits::MANIFEST.into())?;
    let golden = encode(section::GOLDEN, golden, limits::GOLDEN_BYTES)?;
    let contents = [model, external, vocabulary, &golden];
    let sections: Vec<_> = section::ALL
        .into_iter()
        .zip(contents)
        .filter(|((name, _), content)| *name != section::EXTERNAL || !content.is_empty())
        .collect();

    let count = sections.len() as u32;
    let mut end = manifest_offset(count) + manifest.len() as u64;
    for ((name, limit), content) in &sections {
        check_size(name, content.len() as u64, *limit)?;
        end = align(end) + content.len() as u64;
    }
    check_size("the bundle", end + TRAILER, limits::FILE)?;

    let mut out = Vec::with_capacity((end + TRAILER) as usize);
    out.extend(MAGIC);
    out.extend(FORMAT_VERSION.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((manifest.len() as u32).to_le_bytes());
    out.extend(0u32.to_le_bytes());
    out.extend(end.to_le_bytes());
    debug_assert_eq!(out.len() as u64, HEADER);
    for ((name, _), content) in &sections {
        let mut field = [0; limits::SECTION_NAME];
        field[..name.len()].copy_from_slice(name.as_bytes());
        out.extend(field);
        out.extend((content.len() as u64).to_le_bytes());
    }
    out.extend(manifest);
    for (_, content) in &sections {
        out.resize(align(out.len() as u64) as usize, 0);
        out.extend_from_slice(content);
    }
    let digest = digest(&out);
    out.extend_from_slice(&digest);
    out.extend(0u32.to_le_bytes()); // signatures
    Ok(out)
}

fn encode<T: serde::Serialize + ?Sized>(
    what: &'static str,
    value: &T,
    limit: u64,
) -> Result<Vec<u8>, WriteError> {
    // encoding plain data into a growing vector cannot fail
    let bytes = postcard::to_allocvec(value).unwrap_or_default();
    check_size(what, bytes.len() as u64, limit)?;
    Ok(bytes)
}

fn check_size(what: &'static str, bytes: u64, limit: u64) -> Result<(), WriteError> {
    if bytes > limit { Err(WriteError::Oversized { what, bytes, limit }) } else { Ok(()) }
}
