//! Preset student sizes: what to cut, in which stages, for a bundle of a given size.

use super::{Layers, Stage};
use crate::bert::Config;
use serde::{Deserialize, Serialize};

/// `distill.student`: a size by name, or the maximum size of the bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Size {
    /// `large`, `medium`, `small`, `tiny` or `nano`. From MiniLM-L6 they make bundles of less than 10, 6, 4,
    /// 2 and 1 MB.
    Named(String),
    /// A maximum such as `"3.5 MB"`: selects the largest named size that fits.
    Megabytes(f64),
}

/// A student size relative to MiniLM: widths as fractions of the hidden size, heads as a fraction of the
/// model's.
struct Rung {
    name: &'static str,
    layers: usize,
    intermediate: f64,
    heads: f64,
    pooler: f64,
    rank: f64,
    vocabulary: usize,
    bits: u8,
}

/// The named sizes, largest first; each can be cut from the one before. These proportions lost least on SST-2
/// at their size.
const LADDER: [Rung; 5] = [
    Rung {
        name: "large",
        layers: 4,
        intermediate: 4.0,
        heads: 1.0,
        pooler: 1.0,
        rank: 0.41,
        vocabulary: 10_000,
        bits: 8,
    },
    Rung {
        name: "medium",
        layers: 3,
        intermediate: 2.66,
        heads: 1.0,
        pooler: 1.0,
        rank: 0.33,
        vocabulary: 10_000,
        bits: 8,
    },
    Rung {
        name: "small",
        layers: 3,
        intermediate: 1.33,
        heads: 0.67,
        pooler: 0.5,
        rank: 0.33,
        vocabulary: 8_000,
        bits: 8,
    },
    Rung {
        name: "tiny",
        layers: 2,
        intermediate: 0.66,
        heads: 0.5,
        pooler: 0.33,
        rank: 0.25,
        vocabulary: 8_000,
        bits: 4,
    },
    Rung {
        name: "nano",
        layers: 2,
        intermediate: 0.33,
        heads: 0.33,
        pooler: 0.17,
        rank: 0.125,
        vocabulary: 5_000,
        bits: 4,
    },
];

/// The steps to a student size.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// Bits of the word embeddings after each stage, 8 or 4.
    pub embedding_bits: Vec<u8>,
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if LADDER.iter().any(|rung| rung.name == text) {
            return Ok(Size::Named(text));
        }
        let number = text.strip_suffix("MB").and_then(|number| number.trim().parse::<f64>().ok());
        match number.filter(|number| number.is_finite() && *number > 0.0) {
            Some(number) => Ok(Size::Megabytes(number)),
            None => Err(format!(
                "expected \"large\", \"medium\", \"small\", \"tiny\", \"nano\" or a size such as \"3.5 MB\", found {text:?}"
            )),
        }
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        match size {
            Size::Named(name) => name,
            Size::Megabytes(number) => format!("{number} MB"),
        }
    }
}

impl Size {
    /// Returns the maximum size of the bundle, if one was given.
    pub fn megabytes(&self) -> Option<f64> {
        match self {
            Size::Named(_) => None,
            Size::Megabytes(most) => Some(*most),
        }
    }

    /// Plans the cuts that lead from a model to this size. Where the model is already smaller, it stays as it
    /// is. `bits` overrides the size's bits of the word embeddings.
    ///
    /// # Errors
    /// If even the smallest student exceeds the limit; says how much it takes.
    pub fn plan(&self, model: &Config, max_tokens: usize, bits: Option<u8>) -> Result<Plan, String> {
        let fits = |rung: &Rung| match self {
            Size::Named(name) => rung.name == name,
            Size::Megabytes(most) => rung.megabytes(model, max_tokens, bits) <= *most,
        };
        let last = LADDER.iter().position(fits).ok_or_else(|| {
            let least = LADDER[LADDER.len() - 1].megabytes(model, max_tokens, bits);
            format!(
                "is {}; the smallest student of this model takes {least:.2} MB",
                String::from(self.clone())
            )
        })?;
        let stages = LADDER[..=last].iter().enumerate().map(|(i, rung)| rung.stage(model, i > 0)).collect();
        Ok(Plan {
            stages,
            embedding_bits: LADDER[..=last].iter().map(|rung| bits.unwrap_or(rung.bits)).collect(),
        })
    }
}

impl Rung {
    fn stage(&self, model: &Config, together: bool) -> Stage {
        let part = |of: usize, share: f64| ((of as f64 * share).round() as usize).max(1);
        let width = |share: f64| part(model.hidden_size, share).next_multiple_of(16);
        Stage {
            layers: Some(Layers::Count(self.layers.min(model.num_hidden_layers))),
            heads: Some(part(model.num_attention_heads, self.heads)),
            intermediate: Some(width(self.intermediate).min(model.intermediate_size)),
            pooler: Some(width(self.pooler).min(model.pooler_size())),
            embedding_rank: Some(width(self.rank).min(model.embedding_rank().unwrap_or(model.hidden_size))),
            vocabulary: Some(self.vocabulary.min(model.vocab_size)),
            together,
            ..Stage::default()
        }
    }

    /// Estimates the size of the bundle.
    fn megabytes(&self, model: &Config, max_tokens: usize, bits: Option<u8>) -> f64 {
        const GRAPH: usize = 40_000;
        const PIECE: usize = 9;
        let stage = self.stage(model, false);
        let h = model.hidden_size;
        let sizes = [stage.heads, stage.intermediate, stage.pooler, stage.embedding_rank, stage.vocabulary];
        let [heads, intermediate, pooler, rank, pieces] = sizes.map(Option::unwrap_or_default);
        let layers = self.layers.min(model.num_hidden_layers);
        let attention = heads * (h / model.num_attention_heads);
        // integer weights, plus a scale and a bias per output
        let linear = |inputs: usize, outputs: usize| inputs * outputs + 8 * outputs;
        let layer = 3 * linear(h, attention)
            + linear(attention, h)
            + linear(h, intermediate)
            + linear(intermediate, h)
            + 16 * h;
        let row = if bits.unwrap_or(self.bits) == 4 { rank / 2 } else { rank };
        let embeddings = pieces * (row + 4 + PIECE) + linear(rank, h) + max_tokens * (h + 4) + 16 * h;
        let head = linear(h, pooler) + linear(pooler, model.num_labels());
        (layers * layer + embeddings + head + GRAPH) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mini_lm() -> Config {
        serde_json::from_value(serde_json::json!({
            "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
            "intermediate_size": 1536,
        }))
        .unwrap()
    }

    #[test]
    fn named_sizes_stay_below_their_limits() {
        for (rung, most) in LADDER.iter().zip([10.0, 6.0, 4.0, 2.0, 1.0]) {
            let megabytes = rung.megabytes(&mini_lm(), 128, None);
            assert!(megabytes < most && megabytes > 0.8 * most, "{}: {megabytes}", rung.name);
        }
    }

    #[test]
    fn a_budget_takes_the_largest_that_fits() {
        let plan = |text: &str| Size::try_from(text.to_string()).unwrap().plan(&mini_lm(), 128, None);
        assert_eq!(plan("4 MB"), plan("small"));
        assert_eq!(plan("5.0MB"), plan("small"));
        let small = plan("small").unwrap();
        assert_eq!((small.stages.len(), &small.embedding_bits[..]), (3, &[8, 8, 8][..]));
        assert_eq!(plan("nano").unwrap().embedding_bits, [8, 8, 8, 4, 4]);
        let last = &small.stages[2];
        assert_eq!((last.heads, last.intermediate, last.embedding_rank), (Some(8), Some(512), Some(128)));
        let one = Size::try_from("1 MB".to_string()).unwrap();
        assert!(one.plan(&mini_lm(), 128, Some(8)).is_err(), "with as many bits the smallest takes more");
        assert!(plan("0.5 MB").unwrap_err().contains("the smallest student"));
        assert!(Size::try_from("huge".to_string()).unwrap_err().contains("huge"));
    }
}
