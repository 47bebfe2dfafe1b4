use std::sync::Arc;

/// The token ids of one text or pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Word piece ids, including special tokens.
    pub ids: Vec<u32>,
    /// 0 for the first text, 1 for the second.
    pub type_ids: Vec<u8>,
}

/// A batch of texts, padded to one length.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(super) texts: usize,
    pub(super) sequence: usize,
    /// [texts * sequence]
    pub(super) ids: Arc<[u32]>,
    pub(super) type_ids: Arc<[u32]>,
    pub(super) positions: Arc<[u32]>,
    /// 0 for a token, a large negative number for padding.
    pub(super) mask: Arc<[f32]>,
}

impl Batch {
    /// Pads the texts with `pad_id` to the length of the longest.
    pub fn new<'a>(texts: impl ExactSizeIterator<Item = &'a Tokens> + Clone, pad_id: u32) -> Self {
        let sequence = texts.clone().map(|t| t.ids.len()).max().unwrap_or(0);
        let (mut ids, mut type_ids, mut mask) = (Vec::new(), Vec::new(), Vec::new());
        for (row, text) in texts.clone().enumerate() {
            let end = (row + 1) * sequence;
            ids.extend(&text.ids);
            type_ids.extend(text.type_ids.iter().map(|t| u32::from(*t)));
            mask.resize(ids.len(), 0.0);
            ids.resize(end, pad_id);
            type_ids.resize(end, 0);
            mask.resize(end, -1e9);
        }
        let positions = (0..ids.len()).map(|i| (i % sequence) as u32).collect();
        Self {
            texts: texts.len(),
            sequence,
            ids: ids.into(),
            type_ids: type_ids.into(),
            positions,
            mask: mask.into(),
        }
    }

    /// Returns the number of texts.
    pub fn texts(&self) -> usize {
        self.texts
    }

    /// Returns the number of tokens per text, padding included.
    pub fn sequence(&self) -> usize {
        self.sequence
    }

    /// Returns, for each position [texts * sequence], whether it is a token rather than padding.
    pub fn tokens(&self) -> impl Iterator<Item = bool> {
        self.mask.iter().map(|m| *m == 0.0)
    }
}
