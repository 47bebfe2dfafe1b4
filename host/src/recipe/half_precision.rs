//! The last resort if int8 loses too much even after quantization-aware training: the most sensitive matrices
//! stay in half precision.

use super::error::RunError;
use super::pack::Packer;
use super::prepare::Prepared;
use super::progress::{Progress, Watch};
use crate::bert::{Checkpoint, Classifier};
use crate::evaluate::Comparison;
use crate::quantize::{self, Bits};
use crate::train::{self, Encoded};
use std::path::{Path, PathBuf};

/// Number of texts on which sensitivity is measured.
const TEXTS: usize = 256;

/// Packs with the most sensitive eighth of the matrices in half precision, and doubles their number until the
/// gate accepts. Starts from the model before quantization-aware training. If all of them stay in half
/// precision, only the embeddings are rounded.
pub(super) fn pack_with_half_precision(
    packer: &Packer,
    embeddings: Bits,
    prepared: &Prepared,
    watch: Watch,
) -> Result<(PathBuf, Comparison), RunError> {
    let folder = packer.folder();
    watch(Progress::Step { name: "measure sensitivity", reused: false });
    let order = worst_first(folder, embeddings, prepared, watch)?;
    let mut count = order.len().div_ceil(8);
    loop {
        let (wide, all) = (&order[..count], order.len());
        watch(Progress::Note(&format!(
            "{count} of {all} matrices in half precision; keys and values count as one"
        )));
        match packer.pack(folder, embeddings, wide, watch) {
            Err(RunError::Refused { .. }) if count < all => count = (2 * count).min(all),
            other => return other,
        }
    }
}

/// Returns the names of the linear layers' matrices, most sensitive first.
fn worst_first(
    folder: &Path,
    embeddings: Bits,
    prepared: &Prepared,
    watch: Watch,
) -> Result<Vec<String>, RunError> {
    let checkpoint = Checkpoint::load(folder)?;
    let quantized = quantize::quantize(&checkpoint, embeddings)?;
    let rows = prepared.dev.len();
    let some = prepared.dev.subset((0..rows).step_by(rows.div_ceil(TEXTS).max(1)));
    let texts = Encoded::new(some, &checkpoint.tokenizer, prepared.input.max_tokens)?;
    let mut model = Classifier::trained(checkpoint)?;
    let exact = train::predict(&model, &texts, &mut |_| ())?;
    // a layer's values follow its keys, see `Quantized::widen`
    let names: Vec<&str> = quantized.linear().filter(|name| !name.contains(".value.")).collect();
    let all = names.len();
    let mut moved = Vec::with_capacity(all);
    for (done, name) in names.into_iter().enumerate() {
        let alone = quantize::sensitivity(&mut model, name, embeddings, &texts, &exact)?;
        moved.push((alone.moved, name.to_string()));
        watch(Progress::Classified { done: (done + 1) * texts.tokens.len(), all: all * texts.tokens.len() });
    }
    moved.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(moved.into_iter().map(|(_, name)| name).collect())
}
