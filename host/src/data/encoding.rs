use std::fs;
use std::path::Path;

use super::{DataError, Place};

/// Reads a text file, without a byte order mark: UTF-8, or UTF-16 if it starts with that mark.
pub(super) fn read(path: &Path) -> Result<String, DataError> {
    let bytes = fs::read(path).map_err(|cause| DataError::Read { path: path.to_owned(), cause })?;
    decode(bytes, path)
}

/// First bytes of common binary formats, with advice.
const OTHERS: [(&[u8], &str); 5] = [
    (
        b"PK\x03\x04",
        "it is a zip archive, as workbooks of Excel and LibreOffice are: save the sheet as CSV (UTF-8)",
    ),
    (b"\x1f\x8b", "it is compressed: unpack it with `gunzip`"),
    (b"PAR1", "it is Parquet: convert it to CSV or JSON Lines"),
    (b"\xff\xfe\0\0", "it is UTF-32: convert it with `iconv -f UTF-32 -t UTF-8`"),
    (b"\0\0\xfe\xff", "it is UTF-32: convert it with `iconv -f UTF-32 -t UTF-8`"),
];

fn decode(mut bytes: Vec<u8>, path: &Path) -> Result<String, DataError> {
    if let Some((_, hint)) = OTHERS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Err(DataError::NoText { path: path.to_owned(), hint: (*hint).to_owned() });
    }
    if let Some(text) = marked_utf16(&bytes) {
        return text.map_err(|byte| {
            let hint = format!("it begins as UTF-16, and at byte {byte} there is half a character");
            DataError::NoText { path: path.to_owned(), hint }
        });
    }
    let mark = if bytes.starts_with(&[0xef, 0xbb, 0xbf]) { 3 } else { 0 };
    bytes.drain(..mark);
    // ASCII text in UTF-16 without a mark is valid UTF-8 with a NUL at every other byte
    if let Some(byte) = unmarked_utf16(&bytes) {
        let order = if byte % 2 == 0 { "BE" } else { "LE" };
        let hint = format!("it looks like UTF-16: convert it with `iconv -f UTF-16{order} -t UTF-8`");
        return Err(DataError::NoText { path: path.to_owned(), hint });
    }
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let hint = if error.utf8_error().error_len().is_none() {
            "the file ends in the middle of a character; it may be cut off".to_owned()
        } else {
            // Western texts have single accented letters; in other scripts, whole words lie beyond ASCII
            let western = bytes.get(byte + 1).is_none_or(u8::is_ascii);
            let encoding = if western { "Windows-1252 or Latin-1" } else { "Windows-1251, GB18030 or Shift_JIS" };
            let name = if western { "WINDOWS-1252" } else { "ENCODING" };
            format!(
                "0x{:02x}; if the file is in another encoding, such as {encoding}, convert it with `iconv -f {name} -t UTF-8`",
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

/// Decodes UTF-16 after its byte order mark, as in Excel's "Unicode text". `Some(Err)` is the offset of the
/// first invalid byte; `None` means there is no mark.
fn marked_utf16(bytes: &[u8]) -> Option<Result<String, usize>> {
    let unit: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return None,
    };
    let (units, rest) = bytes[2..].as_chunks();
    let mut text = String::with_capacity(units.len());
    for c in char::decode_utf16(units.iter().copied().map(unit)) {
        match c {
            Ok(c) => text.push(c),
            // preceding characters take two bytes each, or four
            Err(_) => return Some(Err(2 + 2 * text.encode_utf16().count())),
        }
    }
    Some(if rest.is_empty() { Ok(text) } else { Err(bytes.len() - 1) })
}

/// Returns the position of the first NUL if a third of the beginning is NUL.
fn unmarked_utf16(bytes: &[u8]) -> Option<usize> {
    let start = &bytes[..bytes.len().min(1024)];
    let nuls = start.iter().filter(|&&b| b == 0).count();
    (nuls * 3 > start.len()).then(|| start.iter().position(|&b| b == 0).unwrap_or(0))
}
