//! UTF-8 that arrives in pieces.

/// Checks one message chunk by chunk. A character may lie across chunks.
#[derive(Debug, Default)]
pub struct Utf8 {
    /// Start of a character whose end has not come yet.
    carry: [u8; 4],
    carried: usize,
    /// Bytes of the message before the carry.
    offset: u64,
    invalid: Option<u64>,
}

impl Utf8 {
    /// Gives the whole characters of `chunk` to `text`. After a byte that is not UTF-8 nothing more.
    pub fn push(&mut self, mut chunk: &[u8], mut text: impl FnMut(&str)) {
        while self.carried > 0 && self.invalid.is_none() {
            let Some((first, rest)) = chunk.split_first() else { return };
            self.carry[self.carried] = *first;
            match str::from_utf8(&self.carry[..=self.carried]) {
                Ok(character) => {
                    text(character);
                    self.offset += self.carried as u64 + 1;
                    self.carried = 0;
                }
                Err(error) if error.error_len().is_none() => self.carried += 1,
                Err(_) => self.invalid = Some(self.offset),
            }
            chunk = rest;
        }
        if self.invalid.is_some() || chunk.is_empty() {
            return;
        }
        let valid = match str::from_utf8(chunk) {
            Ok(all) => {
                text(all);
                chunk.len()
            }
            Err(error) => {
                let (valid, rest) = chunk.split_at(error.valid_up_to());
                if let (Ok(valid), false) = (str::from_utf8(valid), valid.is_empty()) {
                    text(valid);
                }
                if error.error_len().is_some() {
                    self.invalid = Some(self.offset + valid.len() as u64);
                } else {
                    self.carried = rest.len();
                    self.carry[..rest.len()].copy_from_slice(rest);
                }
                valid.len()
            }
        };
        self.offset += valid as u64;
    }

    /// Ends the message: the offset of its first byte that is not UTF-8, if there is one.
    pub fn finish(&mut self) -> Option<u64> {
        let message = core::mem::take(self);
        message.invalid.or((message.carried > 0).then_some(message.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (String, Option<u64>) {
        let (mut utf8, mut out) = (Utf8::default(), String::new());
        for chunk in chunks {
            utf8.push(chunk, |text| out.push_str(text));
        }
        (out, utf8.finish())
    }

    proptest! {
        /// However it is cut: what the standard library says of the whole.
        #[test]
        fn equals_the_check_of_the_whole(
            text in "\\PC{0,20}", noise in proptest::collection::vec(any::<u8>(), 0..4), cut in 1usize..7,
        ) {
            for bytes in [text.as_bytes(), &[text.as_bytes(), &noise].concat(), &[&noise, text.as_bytes()].concat()] {
                let (valid, invalid) = match str::from_utf8(bytes) {
                    Ok(all) => (all, None),
                    Err(e) => (str::from_utf8(&bytes[..e.valid_up_to()]).unwrap(), Some(e.valid_up_to() as u64)),
                };
                prop_assert_eq!(run(bytes.chunks(cut)), (valid.to_owned(), invalid));
            }
        }
    }
}
