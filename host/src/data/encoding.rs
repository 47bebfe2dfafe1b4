use std::fs;
use std::path::Path;

use super::{DataError, Place};

/// A file's text, without a byte order mark.
pub(super) fn read(path: &Path) -> Result<String, DataError> {
    let bytes = fs::read(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    decode(bytes, path)
}

fn decode(mut bytes: Vec<u8>, path: &Path) -> Result<String, DataError> {
    let mark = if bytes.starts_with(&[0xef, 0xbb, 0xbf]) { 3 } else { 0 };
    bytes.drain(..mark);
    // UTF-16 without a mark is valid UTF-8 as long as it is ASCII, with a NUL at every other byte
    if let Some(byte) = utf16(&bytes) {
        let hint = "it looks like UTF-16; convert it with `iconv -f UTF-16 -t UTF-8`".to_owned();
        return Err(DataError::Encoding { at: place(path, &bytes, byte), byte: mark + byte, hint });
    }
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let hint = if error.utf8_error().error_len().is_none() {
            "the file ends in the middle of a character; it may be cut off".to_owned()
        } else {
            format!(
                "0x{:02x}; if the file is Windows-1252 or Latin-1, convert it with `iconv -f WINDOWS-1252 -t UTF-8`",
                bytes[byte]
            )
        };
        DataError::Encoding { at: place(path, bytes, byte), byte: mark + byte, hint }
    })
}

fn place(path: &Path, bytes: &[u8], byte: usize) -> Place {
    let lines = bytes[..byte].iter().filter(|&&b| b == b'\n').count();
    Place { path: path.to_owned(), line: lines as u32 + 1 }
}

/// The first byte that shows UTF-16: its mark, or a NUL when a third of the beginning is NUL.
fn utf16(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Some(0);
    }
    let start = &bytes[..bytes.len().min(1024)];
    let nuls = start.iter().filter(|&&b| b == 0).count();
    (nuls * 3 > start.len()).then(|| start.iter().position(|&b| b == 0).unwrap_or(0))
}
