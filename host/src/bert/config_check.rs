//! Which configurations this crate can run.

use super::config::NUM_LABELS;
use super::{Config, Error, InputFormat, StudentShape, mpnet};

/// `model_type` of BERT in Transformers.
pub(super) const BERT: &str = "bert";
/// Largest number in a shape: far more than any BERT has, and products of three still fit a `usize`.
const MAX_SIZE: usize = 1 << 20;
/// Largest number of layers: about ten times as many as any BERT has.
const MAX_LAYERS: usize = 1000;

/// Rejects models other than BERT and a converted MPNet.
pub(super) fn check_model_type(kind: &str) -> Result<(), String> {
    match [BERT, mpnet::CONVERTED].contains(&kind) {
        true => Ok(()),
        false => Err(format!(
            "model_type is {kind:?}; only \"bert\" checkpoints can be trained, and \"mpnet\" for teachers"
        )),
    }
}

impl Config {
    /// Rejects configurations that this crate cannot run.
    ///
    /// # Errors
    /// [`Error::Config`], which names the key.
    pub fn check(&self) -> Result<(), Error> {
        let checks = [Config::check_kind, Config::check_sizes, Config::check_input, Config::check_student];
        checks.into_iter().try_for_each(|check| check(self)).map_err(Error::Config)
    }

    /// Rejects other models and variants of BERT that compute something else.
    fn check_kind(&self) -> Result<(), String> {
        let text = |key: &str| self.extra.get(key).and_then(|value| value.as_str());
        let kind = text("model_type").unwrap_or(BERT);
        check_model_type(kind)?;
        let (buckets, wanted) =
            (self.relative_attention_num_buckets, (kind == mpnet::CONVERTED).then_some(mpnet::BUCKETS));
        if buckets != wanted {
            let shown = |number: Option<usize>| number.map_or("none".to_owned(), |number| number.to_string());
            return Err(format!(
                "relative_attention_num_buckets is {}; that of {} must be {}",
                shown(buckets),
                if kind == BERT { "a BERT" } else { "an MPNet" },
                shown(wanted)
            ));
        }
        // the same function in another language
        if !["gelu", "gelu_python"].contains(&self.hidden_act.as_str()) {
            return Err(format!("hidden_act is {:?}; only \"gelu\" is supported", self.hidden_act));
        }
        if let Some(kind) = text("position_embedding_type").filter(|kind| *kind != "absolute") {
            return Err(format!("position_embedding_type {kind:?} is not supported, only \"absolute\""));
        }
        for key in ["is_decoder", "add_cross_attention"] {
            if self.extra.get(key).is_some_and(|value| *value == true) {
                return Err(format!("{key} is true; only encoders are supported"));
            }
        }
        let pruned = self.extra.get("pruned_heads").and_then(|heads| heads.as_object());
        match pruned.is_some_and(|heads| !heads.is_empty()) {
            true => Err("pruned_heads is not supported: save a model with all of its heads".into()),
            false => Ok(()),
        }
    }

    /// Rejects sizes, rates and labels that cannot be.
    fn check_sizes(&self) -> Result<(), String> {
        let sizes = [
            ("vocab_size", self.vocab_size, MAX_SIZE),
            ("hidden_size", self.hidden_size, MAX_SIZE),
            ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
            ("num_attention_heads", self.num_attention_heads, MAX_SIZE),
            ("intermediate_size", self.intermediate_size, MAX_SIZE),
            ("max_position_embeddings", self.max_position_embeddings, MAX_SIZE),
            ("type_vocab_size", self.type_vocab_size, MAX_SIZE),
            (NUM_LABELS, self.num_labels(), MAX_SIZE),
        ];
        for (name, size, most) in sizes {
            if !(1..=most).contains(&size) {
                return Err(format!("{name} is {size}; it must be 1 to {most}"));
            }
        }
        let (pieces, pad) = (self.vocab_size, self.pad_token_id);
        if pad >= pieces {
            return Err(format!("pad_token_id is {pad}, and the vocabulary has {pieces} pieces"));
        }
        let all = self.id2label.len();
        if let Some(missing) = (0..all).find(|id| !self.id2label.contains_key(id)) {
            return Err(format!(
                "id2label has {all} names and none for {missing}: they must be 0 to {}",
                all - 1
            ));
        }
        let rates = [
            ("hidden_dropout_prob", Some(self.hidden_dropout_prob)),
            ("attention_probs_dropout_prob", Some(self.attention_probs_dropout_prob)),
            ("classifier_dropout", self.classifier_dropout),
        ];
        for (name, rate) in rates {
            if let Some(rate) = rate.filter(|rate| !(0.0..1.0).contains(rate)) {
                return Err(format!("{name} is {rate}; it must be at least 0 and below 1"));
            }
        }
        match (f64::MIN_POSITIVE..=1.0).contains(&self.layer_norm_eps) {
            true => Ok(()),
            false => {
                Err(format!("layer_norm_eps is {}; it must be above 0 and at most 1", self.layer_norm_eps))
            }
        }
    }

    /// Rejects input formats that leave no room for a text.
    fn check_input(&self) -> Result<(), String> {
        match self.input.filter(|input| !input.has_room()) {
            None => Ok(()),
            Some(InputFormat { max_tokens, windows, .. }) => {
                Err(format!("reads says {max_tokens} tokens, windows {windows:?}, which cannot be"))
            }
        }
    }

    /// Rejects native shapes that do not fit into the plain form.
    fn check_student(&self) -> Result<(), String> {
        let Some(StudentShape { head_size, heads, intermediate, embedding_rank, pooler }) = &self.goldcrest
        else {
            let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
            return match hidden.is_multiple_of(heads) {
                true => Ok(()),
                false => {
                    Err(format!("hidden_size {hidden} is not a multiple of num_attention_heads {heads}"))
                }
            };
        };
        if self.only_teaches() {
            return Err("goldcrest: a model of this kind cannot be a student".into());
        }
        let layers = self.num_hidden_layers;
        if heads.len() != layers || intermediate.len() != layers {
            return Err(format!(
                "goldcrest.heads and goldcrest.intermediate need {layers} entries, one a layer"
            ));
        }
        let within = |sizes: &[usize], most: usize| sizes.iter().all(|size| (1..=most).contains(size));
        let fits = *head_size > 0
            && within(heads, self.hidden_size / head_size)
            && within(intermediate, self.intermediate_size)
            && within(embedding_rank.as_slice(), MAX_SIZE)
            && within(pooler.as_slice(), self.hidden_size);
        match fits {
            true => Ok(()),
            false => Err("the goldcrest shape does not fit into the plain form around it".into()),
        }
    }
}
