use crate::bert::{Array, Checkpoint, WORD_EMBEDDINGS, is_special};
use crate::train::Encoded;
use std::collections::HashSet;

/// A checkpoint with a reduced vocabulary.
#[derive(Debug, Clone)]
pub struct Pruned {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Number of word pieces kept.
    pub kept: usize,
    /// Share of the texts' tokens that stay whole; the others split into several smaller pieces.
    pub coverage: f64,
}

impl Pruned {
    /// Describes the result in a sentence; `before` is the original number of pieces.
    pub fn describe(&self, before: usize) -> String {
        let coverage = self.coverage * 100.0;
        format!(
            "{} of {before} word pieces are kept: {coverage:.2} % of the texts' tokens stay whole",
            self.kept
        )
    }
}

/// Counts the occurrences of each word piece; `weight` says how much those in a row count.
pub fn piece_counts(texts: &Encoded, pieces: usize, weight: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut counts = vec![0.0; pieces];
    for (row, text) in texts.tokens.iter().enumerate() {
        let weight = weight(row);
        text.ids.iter().for_each(|id| counts[*id as usize] += weight);
    }
    counts
}

/// Keeps about `budget` word pieces: the special ones, every single character (alone and as `##`
/// continuation), and then those with the highest [`counts`](piece_counts). Ties go to pieces early in the
/// vocabulary: BERT's is roughly in order of frequency, and a device will read words that no training text
/// had. If the first two kinds need more than the budget, they get it.
///
/// Because single characters are kept, any word that could be spelled before still can be, in more pieces.
/// For the same reason, pieces with a character that has no piece of its own are kept.
pub fn prune_vocabulary(checkpoint: &Checkpoint, counts: &[f64], budget: usize) -> Pruned {
    let pieces: Vec<&str> = checkpoint.tokenizer.pieces().collect();
    let known: HashSet<&str> = pieces.iter().copied().collect();
    let alone = |c: char| known.contains(c.to_string().as_str()) && known.contains(format!("##{c}").as_str());
    let needed = |piece: &str| {
        if is_special(piece) {
            return true;
        }
        if piece.starts_with("[unused") {
            return false;
        }
        let bare = piece.strip_prefix("##").unwrap_or(piece);
        bare.chars().count() == 1 || !bare.chars().all(alone)
    };
    let mut keep: Vec<bool> = pieces.iter().map(|piece| needed(piece)).collect();
    let left = budget.saturating_sub(keep.iter().filter(|k| **k).count());
    let mut order: Vec<usize> =
        (0..pieces.len()).filter(|id| !keep[*id] && !pieces[*id].starts_with("[unused")).collect();
    order.sort_by(|a, b| counts[*b].total_cmp(&counts[*a]).then(a.cmp(b)));
    order.into_iter().take(left).for_each(|id| keep[id] = true);

    let ids: Vec<usize> = (0..pieces.len()).filter(|id| keep[*id]).collect();
    let mut pruned = checkpoint.clone();
    let table = &checkpoint.tensors[WORD_EMBEDDINGS];
    let width = table.shape[1];
    let rows = ids.iter().flat_map(|id| &table.data[id * width..][..width]).copied().collect();
    pruned.tensors.insert(WORD_EMBEDDINGS.into(), Array { shape: vec![ids.len(), width], data: rows });
    pruned.tokenizer.vocab = ids.iter().flat_map(|id| [pieces[*id], "\n"]).collect();
    pruned.config.vocab_size = ids.len();
    pruned.config.pad_token_id = ids.iter().position(|id| pieces[*id] == "[PAD]").unwrap_or(0);
    // special tokens are in every text and would only inflate the coverage
    let of_texts = |id: &usize| !is_special(pieces[*id]);
    let total: f64 = (0..pieces.len()).filter(of_texts).map(|id| counts[id]).sum();
    let covered: f64 = ids.iter().filter(|id| of_texts(id)).map(|id| counts[*id]).sum();
    Pruned { checkpoint: pruned, kept: ids.len(), coverage: covered / total.max(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bert::{Config, TokenizerFiles};
    use crate::data::Dataset;

    fn checkpoint(vocab: &str) -> Checkpoint {
        let config: Config = serde_json::from_value(serde_json::json!({
            "vocab_size": vocab.lines().count(), "hidden_size": 2, "num_hidden_layers": 0,
            "num_attention_heads": 1, "intermediate_size": 2,
        }))
        .unwrap();
        let data = (0..config.vocab_size * 2).map(|i| i as f32).collect();
        let table = Array { shape: vec![config.vocab_size, 2], data };
        let tokenizer = TokenizerFiles {
            vocab: vocab.into(),
            lowercase: true,
            strip_accents: None,
            chinese_chars: true,
            max_length: 512,
        };
        Checkpoint { config, tensors: [(WORD_EMBEDDINGS.to_string(), table)].into(), tokenizer }
    }

    fn encode(text: &str, checkpoint: &Checkpoint) -> Encoded {
        let data = Dataset::unlabelled([(text.into(), None)]);
        Encoded::new(data, &checkpoint.tokenizer, 64).unwrap()
    }

    #[test]
    fn rows_count_by_their_weight() {
        let whole = checkpoint("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n");
        let data = Dataset::unlabelled(["a b", "b b"].map(|text| (text.to_string(), None)));
        let texts = Encoded::new(data, &whole.tokenizer, 64).unwrap();
        let weight = |row: usize| [1.0, 0.25][row];
        assert_eq!(piece_counts(&texts, 6, weight), [0.0, 0.0, 1.25, 1.25, 1.0, 1.5]);
    }

    #[test]
    fn pieces_early_in_the_vocabulary_win_ties() {
        let vocab = "[UNK]\n[unused0]\n[PAD]\n[CLS]\n[SEP]\na\nb\n##a\n##b\nc\nab\nba\nbb\nac\n";
        let pruned = prune_vocabulary(&checkpoint(vocab), &[0.0; 14], 12);
        let kept: Vec<&str> = pruned.checkpoint.tokenizer.pieces().collect();
        // c has no continuation, so the piece that contains it stays
        assert_eq!(kept, ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "a", "b", "##a", "##b", "c", "ab", "ba", "ac"]);
        assert_eq!((pruned.checkpoint.config.pad_token_id, pruned.coverage), (1, 0.0));
    }

    #[test]
    fn characters_and_frequent_pieces_stay() {
        let vocab = "[PAD]\n[unused0]\n[UNK]\n[CLS]\n[SEP]\na\nb\n##a\n##b\nab\n##ab\nabab\nbb\naé\n";
        let whole = checkpoint(vocab);
        let texts = encode("abab abab bb ab ba", &whole);
        let pruned = prune_vocabulary(&whole, &piece_counts(&texts, 14, |_| 1.0), 10);
        let kept: Vec<&str> = pruned.checkpoint.tokenizer.pieces().collect();
        // é has no piece of its own, so the piece that contains it stays; one place is left for the most
        // frequent
        assert_eq!(kept, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##a", "##b", "abab", "aé"]);
        assert_eq!(pruned.checkpoint.tensors[WORD_EMBEDDINGS].data[16..18], [22.0, 23.0]);
        let again = encode("abab bb ab ba", &pruned.checkpoint);
        assert!(!again.tokens[0].ids.contains(&1), "no text becomes [UNK]: {:?}", again.tokens);
        assert_eq!((pruned.kept, pruned.checkpoint.config.vocab_size), (10, 10));
        // all but `bb` and `ab`
        assert!((pruned.coverage - 2.0 / 3.0).abs() < 1e-9, "{}", pruned.coverage);
    }
}
