//! The vocabulary, read in place, and its index: an open-addressed hash table from piece to id.
use alloc::vec;
use alloc::vec::Vec;

use super::Error;
use super::capacity::{MAX_PIECE_BYTES, MAX_PIECES, MAX_PROBES, MAX_VOCAB_BYTES};

/// Ids of the special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SpecialTokens {
    pub cls: u32,
    pub sep: u32,
    pub unk: u32,
    pub pad: Option<u32>,
    pub mask: Option<u32>,
}

impl SpecialTokens {
    /// Returns the spelling of each token in the vocabulary, and its id.
    pub(super) fn named(&self) -> [(&'static str, Option<u32>); 5] {
        let Self { cls, sep, unk, pad, mask } = *self;
        [("[CLS]", Some(cls)), ("[SEP]", Some(sep)), ("[UNK]", Some(unk)), ("[PAD]", pad), ("[MASK]", mask)]
    }
}

/// Where a piece occurs: at the start of a word, or inside one (`##` in the vocabulary).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    Inside,
}

/// The index built from the vocabulary text. Takes about 13 bytes per piece, plus 32 KiB.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// Packed [`Slot`]s, 0 if free. There are more slots than pieces, so every search ends at a free one.
    slots: Vec<u64>,
    /// By hash of three bytes: bit n says that a piece of n bytes (bit 31: 31 or more) may begin with them.
    lengths: Vec<u32>,
    /// Length of the longest piece in bytes.
    longest: usize,
    pieces: usize,
    pub(super) special: SpecialTokens,
    /// Id of each ASCII character as a word of its own.
    ascii: [u32; 128],
}

/// One piece: offset in the text (24 bits), length (9), place (1), id (19), upper bits of the hash (11).
#[derive(Clone, Copy)]
struct Slot(u64);

const _: () = assert!(MAX_VOCAB_BYTES <= 1 << 24 && MAX_PIECE_BYTES < 1 << 9 && MAX_PIECES <= 1 << 19);

impl Slot {
    /// The bits that two slots of the same piece share.
    const KEY: u64 = !(0xFF_FFFF | 0x7_FFFF << 34);

    fn new(offset: usize, id: usize, key: u64) -> Self {
        Self(offset as u64 | (id as u64) << 34 | key)
    }
    /// Returns the bits that [`Slot::KEY`] covers.
    fn key(place: Place, hash: u64, len: usize) -> u64 {
        (len as u64) << 24 | (place as u64) << 33 | hash >> 53 << 53
    }
    fn offset(self) -> usize {
        self.0 as usize & 0xFF_FFFF
    }
    fn id(self) -> u32 {
        (self.0 >> 34) as u32 & 0x7_FFFF
    }
    fn has(self, key: u64) -> bool {
        self.0 & Self::KEY == key
    }
}

const LENGTHS: usize = 1 << 13;

/// The vocabulary text and its index, borrowed.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    text: &'a [u8],
    index: &'a Index,
}

impl Index {
    /// Indexes a `vocab.txt`, read as `tokenizers` does: a line ends at `\n`, white space at its end is
    /// ignored (so CRLF works), and the line number is the id. A blank line uses up
    /// an id but matches nothing.
    pub(super) fn build(text: &[u8]) -> Result<Self, Error> {
        if text.len() > MAX_VOCAB_BYTES {
            return Err(Error::TooLarge { bytes: text.len() });
        }
        let lines = core::str::from_utf8(text).map_err(|error| {
            let line = 1 + text[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            Error::NotUtf8 { line }
        })?;
        let newlines = text.iter().filter(|&&b| b == b'\n').count();
        let pieces = match text.last() {
            None => return Err(Error::Empty),
            Some(b'\n') => newlines,
            Some(_) => newlines + 1,
        };
        if pieces > MAX_PIECES {
            return Err(Error::TooManyPieces);
        }
        let special = SpecialTokens { cls: 0, sep: 0, unk: 0, pad: None, mask: None };
        let mut index = Self {
            slots: vec![0; pieces + pieces / 8 * 5 + 1],
            lengths: vec![0; LENGTHS],
            longest: 0,
            pieces,
            special,
            ascii: [0; 128],
        };
        let mut offset = 0;
        // byte by byte, because lines are short: searching for each newline would be slower
        for (id, line) in text.split_inclusive(|&b| b == b'\n').enumerate() {
            let end = offset + line.len();
            index.insert(text, offset, lines[offset..end].trim_end(), id)?;
            offset = end;
        }
        index.check_runs()?;
        index.find_special(text)?;
        Ok(index)
    }

    /// Inserts a piece, probing at most [`MAX_PROBES`] occupied slots.
    fn insert(&mut self, text: &[u8], offset: usize, piece: &str, id: usize) -> Result<(), Error> {
        let (place, piece_bytes) = split(piece);
        let (offset, len) = (offset + piece.len() - piece_bytes.len(), piece_bytes.len());
        if len == 0 {
            return Ok(());
        }
        if len > MAX_PIECE_BYTES {
            return Err(Error::PieceTooLong { line: id + 1, bytes: len });
        }
        let piece = &text[offset..];
        let hash = hash(place, piece, len);
        let key = Slot::key(place, hash, len);
        let mut at = self.home(hash);
        let mut probes = 0;
        while self.slots[at] != 0 {
            probes += 1;
            if probes > MAX_PROBES {
                return Err(Error::Collisions { line: id + 1 });
            }
            let slot = Slot(self.slots[at]);
            if slot.has(key) && same(&text[slot.offset()..], piece, len) {
                return Err(Error::Duplicate { line: id + 1, first: slot.id() as usize + 1 });
            }
            at = self.next(at);
        }
        self.slots[at] = Slot::new(offset, id, key).0;
        if len > 2 {
            self.lengths[lengths_at(place, piece)] |= 1 << len.min(31);
        }
        self.longest = self.longest.max(len);
        Ok(())
    }

    /// Checks that no search can take many probes: one for a piece that is missing goes on to the next free slot.
    fn check_runs(&self) -> Result<(), Error> {
        let mut run = 0;
        // a run may go on from the last slot to the first
        for slot in self.slots.iter().chain(self.slots.iter().take(MAX_PROBES)) {
            run = if *slot == 0 { 0 } else { run + 1 };
            if run > MAX_PROBES {
                return Err(Error::Collisions { line: Slot(*slot).id() as usize + 1 });
            }
        }
        Ok(())
    }

    fn find_special(&mut self, text: &[u8]) -> Result<(), Error> {
        let view = View { text, index: self };
        let need = |piece| view.id(piece).ok_or(Error::MissingSpecial(piece));
        let special = SpecialTokens {
            cls: need("[CLS]")?,
            sep: need("[SEP]")?,
            unk: need("[UNK]")?,
            pad: view.id("[PAD]"),
            mask: view.id("[MASK]"),
        };
        let ascii =
            core::array::from_fn(|byte| view.find(Place::Start, &[byte as u8], 1).unwrap_or(special.unk));
        self.special = special;
        self.ascii = ascii;
        Ok(())
    }

    pub(super) fn pieces(&self) -> usize {
        self.pieces
    }

    /// Returns the heap memory in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&self.slots[..]) + size_of_val(&self.lengths[..])
    }

    /// Returns the first slot to probe: the lower 32 bits of the hash, scaled to the number of slots.
    fn home(&self, hash: u64) -> usize {
        (((hash & 0xFFFF_FFFF) * self.slots.len() as u64) >> 32) as usize
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }
}

impl<'a> View<'a> {
    pub(super) fn new(text: &'a [u8], index: &'a Index) -> Self {
        Self { text, index }
    }

    pub(super) fn special(self) -> SpecialTokens {
        self.index.special
    }

    /// Returns the id of an ASCII character that is a word of its own.
    pub(super) fn ascii(self, byte: u8) -> u32 {
        self.index.ascii[byte as usize & 127]
    }

    /// Returns the id of a piece, spelled as in the vocabulary.
    pub(super) fn id(self, piece: &str) -> Option<u32> {
        let (place, bytes) = split(piece);
        if bytes.len() > MAX_PIECE_BYTES {
            return None;
        }
        self.find(place, bytes.as_bytes(), bytes.len())
    }

    /// Returns the id of the piece that equals the first `len` bytes of `word`.
    #[inline]
    pub(super) fn find(self, place: Place, word: &[u8], len: usize) -> Option<u32> {
        if len == 0 { None } else { self.find_hashed(place, word, len, hash(place, word, len)) }
    }

    /// Like [`find`](Self::find), with the hash of these bytes.
    #[inline]
    fn find_hashed(self, place: Place, word: &[u8], len: usize, hash: u64) -> Option<u32> {
        let key = Slot::key(place, hash, len);
        let mut at = self.index.home(hash);
        loop {
            let slot = Slot(self.index.slots[at]);
            if slot.0 == 0 {
                return None;
            }
            if slot.has(key) && same(self.text.get(slot.offset()..)?, word, len) {
                return Some(slot.id());
            }
            at = self.index.next(at);
        }
    }

    /// Returns the id and length of the longest piece with which the first `rest` bytes of `word` begin.
    pub(super) fn longest(self, place: Place, word: &[u8], rest: usize) -> Option<(u32, usize)> {
        let limit = rest.min(self.index.longest);
        let found = |len| self.find(place, word, len).map(|id| (id, len));
        if limit > 2 {
            let mut lengths = self.index.lengths[lengths_at(place, word)];
            // pieces consist of whole characters; behind the word lies what an earlier one left
            let ends_there = |len: &usize| *len == rest || word[*len] & 0xC0 != 0x80;
            if lengths >> 31 != 0 && limit > 30 {
                let hashes = Prefixes::new(place, word, limit);
                let found = |len| Some((self.find_hashed(place, word, len, hashes.hash(len))?, len));
                if let Some(hit) = (31..=limit).rev().filter(ends_there).find_map(found) {
                    return Some(hit);
                }
            }
            lengths &= (1 << limit.min(30) << 1) - 1;
            while let Some(len) = lengths.checked_ilog2() {
                if let Some(hit) = found(len as usize) {
                    return Some(hit);
                }
                lengths ^= 1 << len;
            }
        }
        (1..=limit.min(2)).rev().find_map(found)
    }
}

/// Splits a piece, spelled as in the vocabulary, into its place and its text without `##`.
fn split(piece: &str) -> (Place, &str) {
    match piece.strip_prefix("##") {
        Some(inside) if !inside.is_empty() => (Place::Inside, inside),
        _ => (Place::Start, piece),
    }
}

/// Hashes the first `len` (at least 1) of `bytes`, multiplying and folding eight bytes per step.
#[inline]
fn hash(place: Place, bytes: &[u8], len: usize) -> u64 {
    let mut hash = seed(place);
    let mut at = 0;
    while len - at > 8 {
        hash = mix(hash, block(bytes, at, 8));
        at += 8;
    }
    mix(hash, block(bytes, at, len - at))
}

fn seed(place: Place) -> u64 {
    match place {
        Place::Start => 0x2545_F491_4F6C_DD1D,
        Place::Inside => 0xD6E8_FEB8_6659_FD93,
    }
}

fn mix(hash: u64, block: u64) -> u64 {
    let product = (hash ^ block).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ product >> 32
}

/// The hashes of all beginnings of the same bytes, each of which takes a single step: hashing every one from the
/// start would let a crafted vocabulary of long pieces slow down look-ups.
struct Prefixes<'a> {
    bytes: &'a [u8],
    /// Hash after each block of eight bytes.
    blocks: heapless::Vec<u64, { MAX_PIECE_BYTES / 8 + 1 }>,
}

impl<'a> Prefixes<'a> {
    /// Prepares those of up to `longest` bytes, at most [`MAX_PIECE_BYTES`].
    fn new(place: Place, bytes: &'a [u8], longest: usize) -> Self {
        let mut hash = seed(place);
        let mut blocks = heapless::Vec::new();
        for at in (0..longest).step_by(8) {
            let _ = blocks.push(hash);
            hash = mix(hash, block(bytes, at, 8));
        }
        Self { bytes, blocks }
    }

    /// Returns [`hash`] of the first `len` (at least 1) bytes.
    fn hash(&self, len: usize) -> u64 {
        let whole = (len - 1) / 8;
        mix(self.blocks[whole], block(self.bytes, 8 * whole, len - 8 * whole))
    }
}

/// Returns whether the first `len` bytes (at least 1) are equal.
#[inline]
fn same(a: &[u8], b: &[u8], len: usize) -> bool {
    let mut at = 0;
    while len - at > 8 {
        if block(a, at, 8) != block(b, at, 8) {
            return false;
        }
        at += 8;
    }
    block(a, at, len - at) == block(b, at, len - at)
}

/// Returns the `wanted` (1 to 8) bytes from `at` on as a little-endian number.
#[inline]
fn block(bytes: &[u8], at: usize, wanted: usize) -> u64 {
    let bytes = bytes.get(at..).unwrap_or_default();
    let number = bytes.first_chunk().map_or_else(|| last_block(bytes), |chunk| u64::from_le_bytes(*chunk));
    number & (u64::MAX >> (64 - 8 * wanted as u32))
}

/// Pads fewer than eight bytes with zeros.
#[cold]
fn last_block(bytes: &[u8]) -> u64 {
    let mut chunk = [0; 8];
    chunk[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(chunk)
}

/// Returns the index into [`Index::lengths`] for pieces that begin with the first three of `bytes`.
fn lengths_at(place: Place, bytes: &[u8]) -> usize {
    let first = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], place as u8 + 1]);
    (first.wrapping_mul(0x9E37_79B1) >> (32 - LENGTHS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn beginnings_have_the_same_hashes() {
        let bytes: Vec<u8> = (0..MAX_PIECE_BYTES + 8).map(|i| (i * i / 3) as u8).collect();
        for place in [Place::Start, Place::Inside] {
            for longest in [1, 7, 8, 9, 31, 100, MAX_PIECE_BYTES] {
                let prefixes = Prefixes::new(place, &bytes, longest);
                for len in 1..=longest {
                    assert_eq!(prefixes.hash(len), hash(place, &bytes, len), "{len} of {longest}");
                }
            }
        }
    }

    #[test]
    fn a_vocabulary_that_crowds_its_index_is_refused() {
        let text = |words: &mut dyn Iterator<Item = u32>| {
            let words = words.take(MAX_PROBES + 60).map(|word| alloc::format!("{word}\n"));
            ["[CLS]\n[SEP]\n[UNK]\n".into()].into_iter().chain(words).collect::<String>()
        };
        let usual = Index::build(text(&mut (0..)).as_bytes()).unwrap();
        let home = |word: &str| usual.home(hash(Place::Start, word.as_bytes(), word.len()));
        // all hash to the first 40 of the same number of slots
        let crowded = text(&mut (0..).filter(|word| home(&alloc::format!("{word}")) < 40));
        assert!(
            matches!(Index::build(crowded.as_bytes()), Err(Error::Collisions { line }) if line > MAX_PROBES)
        );
        // each hashes to a slot of its own, but one slot after another is taken; also from the last to the first
        let slots = usual.slots.len();
        for first in [0, slots - 100] {
            let mut taken = [false; MAX_PROBES + 60];
            let mut is_next = |word: &u32| {
                let place = (home(&alloc::format!("{word}")) + slots - first) % slots;
                taken.get_mut(place).is_some_and(|taken| !core::mem::replace(taken, true))
            };
            let one_after_another = text(&mut (0..).filter(|word| is_next(word)));
            assert!(matches!(Index::build(one_after_another.as_bytes()), Err(Error::Collisions { .. })));
        }
    }
}
