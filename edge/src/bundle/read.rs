//! Reading of bundles: verification, then parsing.
use super::digest::digest;
use super::layout::{DIGEST, HEADER, MAGIC, TABLE_ENTRY, TRAILER, align, manifest_offset};
use super::{FORMAT_VERSION, Golden, Manifest, ManifestError, limits, section};
use alloc::vec::Vec;
use core::fmt;

/// Why a bundle cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The magic bytes are wrong.
    #[error("not a bundle: the first bytes are not those of one")]
    NotABundle,
    /// A newer or older program wrote the bundle.
    #[error(
        "format version {found}; this program reads version {}: pack it again, with a goldcrest of this version",
        FORMAT_VERSION
    )]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// The end of the file is missing.
    #[error("truncated: {found} of {expected} bytes")]
    Truncated {
        /// The minimum size of the file, judging by what could be read.
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// A length exceeds its limit in [`limits`].
    #[error("oversized: {what} {found}, the limit is {limit}")]
    Oversized {
        /// Which length.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// There are bytes after the end.
    #[error("{bytes} unknown bytes after the end")]
    TrailingBytes {
        /// Number of bytes.
        bytes: u64,
    },
    /// The bundle is signed; this version cannot check signatures and must not ignore them.
    #[error("it is damaged, or has {count} signatures, which this version cannot check")]
    Signatures {
        /// Number of signatures.
        count: u32,
    },
    /// The header or the section table contradicts itself.
    #[error("damaged header: {0}")]
    Header(&'static str),
    /// The content does not match its digest.
    #[error("altered: the SHA-256 of the content is not the one in the file")]
    Altered,
    /// Postcard cannot decode the manifest.
    #[error("the manifest cannot be decoded")]
    ManifestEncoding,
    /// The manifest is invalid.
    #[error("manifest: {0}")]
    Manifest(ManifestError),
    /// A required section is missing.
    #[error("section {0} is missing")]
    MissingSection(&'static str),
    /// There is a section that this version does not know.
    #[error("unknown section {0:?}")]
    UnknownSection(heapless::String<{ limits::SECTION_NAME }>),
    /// The golden messages cannot be decoded or do not fit the manifest.
    #[error("golden messages: {0}")]
    Golden(&'static str),
}

/// A parsed bundle: its manifest, and its sections in place.
#[derive(Clone)]
pub struct Bundle<'a> {
    manifest: Manifest,
    sections: heapless::Vec<(&'static str, &'a [u8]), { section::ALL.len() }>,
    digest: [u8; 32],
    size: u64,
}

impl<'a> Bundle<'a> {
    /// Checks lengths and limits, then the digest, then parses the manifest.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::read_digested(bytes, digest)
    }

    /// Like [`read`](Self::read), but computes the digest with the given function.
    pub(super) fn read_digested(
        bytes: &'a [u8],
        digest: impl FnOnce(&[u8]) -> [u8; 32],
    ) -> Result<Self, Error> {
        let header = Header::read(bytes)?;
        let (body, rest) = bytes.split_at(header.body as usize);
        if rest[..DIGEST as usize] != digest(body) {
            return Err(Error::Altered);
        }
        Self::read_trusted(bytes)
    }

    /// Like [`read`](Self::read), but trusts the stored digest instead of verifying it: for a bundle inside
    /// the program.
    ///
    /// # Errors
    /// [`Error`], but never [`Error::Altered`].
    pub fn read_trusted(bytes: &'a [u8]) -> Result<Self, Error> {
        let header = Header::read(bytes)?;
        let sections = header.sections(bytes)?;
        let body = &bytes[..header.body as usize];
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes[body.len()..][..DIGEST as usize]);
        // a copy: what is checked to be text must not change, as a mapped file might
        let manifest = body[manifest_offset(header.sections) as usize..][..header.manifest as usize].to_vec();
        let manifest: Manifest = match postcard::take_from_bytes(&manifest) {
            Ok((manifest, [])) => manifest,
            _ => return Err(Error::ManifestEncoding),
        };
        manifest.check().map_err(Error::Manifest)?;
        let bundle = Bundle { manifest, sections, digest, size: bytes.len() as u64 };
        for name in [section::MODEL, section::VOCABULARY, section::GOLDEN] {
            bundle.section(name).ok_or(Error::MissingSection(name))?;
        }
        Ok(bundle)
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the graph, in ONNX.
    pub fn model(&self) -> &'a [u8] {
        self.section(section::MODEL).unwrap_or_default()
    }

    /// Returns the external tensors of the graph; empty if there are none.
    pub fn external(&self) -> &'a [u8] {
        self.section(section::EXTERNAL).unwrap_or_default()
    }

    /// Returns the word pieces, one per line. If they are mapped from a file, which others may write to, make the
    /// tokenizer from a copy.
    pub fn vocabulary(&self) -> &'a [u8] {
        self.section(section::VOCABULARY).unwrap_or_default()
    }

    /// Decodes the golden messages.
    ///
    /// # Errors
    /// [`Error::Golden`].
    pub fn golden(&self) -> Result<Vec<Golden>, Error> {
        let bytes = self.section(section::GOLDEN).unwrap_or_default().to_vec();
        // their number comes first
        if postcard::take_from_bytes::<usize>(&bytes).is_ok_and(|(count, _)| count > limits::GOLDEN) {
            return Err(Error::Golden("there are too many"));
        }
        let golden: Vec<Golden> = match postcard::take_from_bytes(&bytes) {
            Ok((golden, [])) => golden,
            _ => return Err(Error::Golden("they cannot be decoded")),
        };
        check_golden(&self.manifest, &golden).map_err(Error::Golden)?;
        Ok(golden)
    }

    /// Returns all sections with their names, in the order of the file.
    pub fn sections(&self) -> &[(&'static str, &'a [u8])] {
        &self.sections
    }

    /// Returns the digest of the body, as stored in the bundle.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the size of the whole file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn section(&self, name: &str) -> Option<&'a [u8]> {
        self.sections.iter().find(|(n, _)| *n == name).map(|(_, bytes)| *bytes)
    }
}

impl fmt::Debug for Bundle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("name", &self.manifest.name)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

pub(super) fn check_golden(manifest: &Manifest, golden: &[Golden]) -> Result<(), &'static str> {
    if golden.len() > limits::GOLDEN {
        return Err("there are too many");
    }
    for message in golden {
        if message.logits.len() != manifest.labels.len() {
            return Err("one has a different number of logits than there are labels");
        }
        if message.pair.is_some() != manifest.pair {
            return Err("one has a different number of texts than the model takes");
        }
    }
    Ok(())
}

/// The fixed-size fields at the start of a bundle.
struct Header {
    sections: u32,
    manifest: u32,
    body: u64,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let found = bytes.len() as u64;
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
            return Err(Error::NotABundle);
        }
        within("bytes of the file:", found, limits::FILE)?;
        let fields =
            bytes.get(..HEADER as usize).ok_or(Error::Truncated { expected: HEADER + TRAILER, found })?;
        let version = u32_at(fields, 8);
        if version != FORMAT_VERSION {
            return Err(Error::Version { found: version });
        }
        let header =
            Header { sections: u32_at(fields, 12), manifest: u32_at(fields, 16), body: u64_at(fields, 24) };
        within("number of sections:", header.sections.into(), limits::SECTIONS.into())?;
        within("bytes of the manifest:", header.manifest.into(), limits::MANIFEST.into())?;
        within("bytes of the file:", header.body.saturating_add(TRAILER), limits::FILE)?;
        if u32_at(fields, 20) != 0 {
            return Err(Error::Header("a reserved field is not zero"));
        }
        let expected = header.body + TRAILER;
        if found < expected {
            return Err(Error::Truncated { expected, found });
        }
        let count = u32_at(bytes, (header.body + DIGEST) as usize);
        if count != 0 {
            return Err(Error::Signatures { count });
        }
        if found > expected {
            return Err(Error::TrailingBytes { bytes: found - expected });
        }
        let content = manifest_offset(header.sections) + u64::from(header.manifest);
        if header.body < content {
            return Err(Error::Header("the body is shorter than the table and the manifest"));
        }
        Ok(header)
    }

    /// Returns the sections listed in the table, which must fill the body exactly.
    fn sections<'a>(
        &self,
        bytes: &'a [u8],
    ) -> Result<heapless::Vec<(&'static str, &'a [u8]), { section::ALL.len() }>, Error> {
        let mut sections = heapless::Vec::new();
        let mut end = manifest_offset(self.sections) + u64::from(self.manifest);
        for i in 0..self.sections {
            let entry = &bytes[(HEADER + TABLE_ENTRY * u64::from(i)) as usize..][..TABLE_ENTRY as usize];
            let (name, limit) = section_name(&entry[..limits::SECTION_NAME])?;
            let length = u64_at(entry, limits::SECTION_NAME);
            within("bytes of a section:", length, limit)?;
            let start = align(end);
            end = start + length;
            if end > self.body {
                return Err(Error::Header("a section reaches past the body"));
            }
            if sections.iter().any(|(n, _)| *n == name) {
                return Err(Error::Header("two sections have the same name"));
            }
            let content = &bytes[start as usize..end as usize];
            sections.push((name, content)).map_err(|_| Error::Header("too many sections"))?;
        }
        if end != self.body {
            return Err(Error::Header("the sections do not fill the body"));
        }
        Ok(sections)
    }
}

/// Returns the name in `field`, which must be that of a known section, and the section's maximum size.
fn section_name(field: &[u8]) -> Result<(&'static str, u64), Error> {
    // copied before it is checked: it may be in a mapped file, which others can change
    let mut copy = [0; limits::SECTION_NAME];
    copy.copy_from_slice(field);
    let field = &copy;
    let length = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    let (name, padding) = field.split_at(length);
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) || padding.iter().any(|&b| b != 0) {
        return Err(Error::Header("a section's name is not plain ASCII"));
    }
    let name = core::str::from_utf8(name).unwrap_or_default();
    section::ALL
        .into_iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| Error::UnknownSection(heapless::String::try_from(name).unwrap_or_default()))
}

fn within(what: &'static str, found: u64, limit: u64) -> Result<(), Error> {
    if found > limit { Err(Error::Oversized { what, found, limit }) } else { Ok(()) }
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(field)
}
