use crate::bert::{Array, Checkpoint, WORD_EMBEDDINGS};
use crate::train::Encoded;
use std::collections::HashSet;

/// A checkpoint with fewer word pieces.
#[derive(Debug, Clone)]
pub struct Pruned {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Pieces it keeps.
    pub kept: usize,
    /// Share of the texts' tokens that stay as they were; the others become several smaller pieces.
    pub coverage: f64,
}

/// Keeps about `budget` pieces: the special ones, every single character (alone and as `##` continuation), and of the
/// others those that occur most often in `texts`, then those that come first in the vocabulary: BERT's are roughly in order
/// of frequency, and what a device reads has words that no training text had. More than the budget are kept where the
/// first two kinds need it.
///
/// Because the single characters stay, a word that could be spelled before can be spelled after, in more pieces. Pieces
/// with a character that has no piece of its own stay for the same reason.
pub fn prune_vocabulary(checkpoint: &Checkpoint, texts: &Encoded, budget: usize) -> Pruned {
    let pieces: Vec<&str> = checkpoint.tokenizer.pieces().collect();
    let known: HashSet<&str> = pieces.iter().copied().collect();
    let mut counts = vec![0u64; pieces.len()];
    for id in texts.tokens.iter().flat_map(|t| &t.ids) {
        counts[*id as usize] += 1;
    }
    let alone = |c: char| known.contains(c.to_string().as_str()) && known.contains(format!("##{c}").as_str());
    let needed = |piece: &str| {
        if ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].contains(&piece) {
            return true;
        }
        if piece.starts_with("[unused") {
            return false;
        }
        let bare = piece.strip_prefix("##").unwrap_or(piece);
        bare.chars().count() == 1 || !bare.chars().all(alone)
    };
    let mut keep: Vec<bool> = pieces.iter().map(|piece| needed(piece)).collect();
    let mut left = budget.saturating_sub(keep.iter().filter(|k| **k).count());
    let mut order: Vec<usize> =
        (0..pieces.len()).filter(|id| !keep[*id] && !pieces[*id].starts_with("[unused")).collect();
    order.sort_by_key(|id| (std::cmp::Reverse(counts[*id]), *id));
    for id in order {
        if left == 0 {
            break;
        }
        keep[id] = true;
        left -= 1;
    }

    let ids: Vec<usize> = (0..pieces.len()).filter(|id| keep[*id]).collect();
    let mut pruned = checkpoint.clone();
    let table = &checkpoint.tensors[WORD_EMBEDDINGS];
    let width = table.shape[1];
    let rows = ids.iter().flat_map(|id| &table.data[id * width..][..width]).copied().collect();
    pruned.tensors.insert(WORD_EMBEDDINGS.into(), Array { shape: vec![ids.len(), width], data: rows });
    pruned.tokenizer.vocab = ids.iter().flat_map(|id| [pieces[*id], "\n"]).collect();
    pruned.config.vocab_size = ids.len();
    pruned.config.pad_token_id = ids.iter().position(|id| pieces[*id] == "[PAD]").unwrap_or(0);
    let total: u64 = counts.iter().sum();
    let covered: u64 = ids.iter().map(|id| counts[*id]).sum();
    Pruned { checkpoint: pruned, kept: ids.len(), coverage: covered as f64 / total.max(1) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bert::{Config, TokenizerFiles};
    use crate::data::{Dataset, Labels, Task};

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
        let example = crate::data::Example {
            text: text.into(),
            pair: None,
            target: crate::data::Target::Value(0.0),
            file: 0,
            line: 1,
        };
        let data = Dataset {
            task: Task::Regression,
            labels: Labels::default(),
            examples: vec![example],
            files: vec![],
        };
        Encoded::new(data, &checkpoint.tokenizer, 64).unwrap()
    }

    #[test]
    fn characters_and_frequent_pieces_stay() {
        let vocab = "[PAD]\n[unused0]\n[UNK]\n[CLS]\n[SEP]\na\nb\n##a\n##b\nab\n##ab\nabab\nbb\naé\n";
        let whole = checkpoint(vocab);
        let texts = encode("abab abab bb ab ba", &whole);
        let pruned = prune_vocabulary(&whole, &texts, 10);
        let kept: Vec<&str> = pruned.checkpoint.tokenizer.pieces().collect();
        // é has no piece of its own, so what holds it stays; one place is left for the most frequent
        assert_eq!(kept, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##a", "##b", "abab", "aé"]);
        assert_eq!(pruned.checkpoint.tensors[WORD_EMBEDDINGS].data[16..18], [22.0, 23.0]);
        let again = encode("abab bb ab ba", &pruned.checkpoint);
        assert!(!again.tokens[0].ids.contains(&1), "no text becomes [UNK]: {:?}", again.tokens);
        assert_eq!((pruned.kept, pruned.checkpoint.config.vocab_size), (10, 10));
    }
}
