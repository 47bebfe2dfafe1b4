//! Packing with quantization-aware training and half precision as needed, until int8 loses no more than
//! allowed.

use super::error::RunError;
use super::half_precision::pack_with_half_precision;
use super::pack::Packer;
use super::prepare::Prepared;
use super::progress::{Progress, Watch};
use super::quantization_aware::quantization_aware;
use super::{Aware, Quantize, Recipe};
use crate::evaluate::{ClassComparison, Comparison};
use crate::metrics::{ClassScores, Metric};
use crate::quantize::Bits;
use std::path::{Path, PathBuf};

/// Packs the model of `folder` as it is. If int8 loses more than the gate allows, tries again after
/// quantization-aware training, and then with some matrices in half precision.
pub(super) fn pack_within_limits(
    recipe: &Recipe,
    folder: &Path,
    bits: Bits,
    prepared: &Prepared,
    watch: Watch,
) -> Result<(PathBuf, Comparison), RunError> {
    let packer = Packer::new(recipe, folder, prepared, watch)?;
    let aware = |watch: Watch| quantization_aware(recipe, folder, bits, prepared, watch);
    let mut packed = match recipe.quantize.aware {
        Aware::Always => packer.pack(&aware(watch)?, bits, &[], watch),
        _ => packer.pack(folder, bits, &[], watch),
    };
    if let (Err(RunError::Refused { refusal, .. }), Aware::IfNeeded) = (&packed, recipe.quantize.aware) {
        watch(Progress::Note(&format!("{refusal}: trying quantization-aware training")));
        packed = packer.pack(&aware(watch)?, bits, &[], watch);
    }
    if let (Err(RunError::Refused { refusal, .. }), true) = (&packed, recipe.quantize.widens()) {
        watch(Progress::Note(&format!("{refusal}: the most sensitive matrices stay in half precision")));
        packed = pack_with_half_precision(&packer, bits, prepared, watch);
    }
    // only after the last attempt: it may produce the bundle of an earlier run again
    if let Err(RunError::Refused { bundle, .. } | RunError::Pruned { bundle, .. }) = &packed {
        let _ = std::fs::remove_file(bundle);
    }
    packed
}

impl Quantize {
    /// Returns the points that int8 may lose: those of the recipe, or else half a point or one more wrong
    /// row. Once nothing but half precision is left (`last_resort`: the model has had quantization-aware
    /// training), a drop must also exceed chance: two rows of 300 mean nothing, and would cost a bundle that
    /// is twice as slow.
    pub(super) fn allowed_drop(&self, found: &Comparison, last_resort: bool) -> f64 {
        let last = last_resort || self.aware == Aware::Never;
        // By chance, a drop exceeds this once in twenty times: the 95 % interval of a normal distribution
        // extends 1.96 deviations to either side, the 90 % interval 1.645.
        let by_chance = (found.interval.high - found.interval.low) / 2.0 * (1.645 / 1.96);
        let by_chance = if last { by_chance.min(1.0) } else { 0.0 };
        let one_row = if found.metric == Metric::Accuracy { 100.0 / found.rows.max(1) as f64 } else { 0.0 };
        // In a class of three rows, one row is worth many points of macro-F1; if no more rows than that are
        // answered differently, the drop is allowed.
        let rows = if last { 2 } else { 1 };
        let few = found.agreeing.is_some_and(|agreeing| found.rows as u64 - agreeing <= rows);
        let usual = one_row.max(by_chance).max(0.5) + of_rare_classes(found, rows as usize);
        let usual = if few { usual.max(-found.delta) } else { usual };
        self.max_drop.unwrap_or(usual)
    }
}

/// Classes of fewer examples are rare.
const RARE: u64 = 5;

/// Returns the points of macro-F1 that int8 lost with a single row each of at most `most` rare classes. Such a row
/// says nothing about int8, but where a class has only one it costs as much as the whole class.
fn of_rare_classes(found: &Comparison, most: usize) -> f64 {
    if found.metric != Metric::MacroF1 {
        return 0.0;
    }
    let one_lost =
        |class: &&ClassComparison| class.fp32.support < RARE && (class.lost, class.gained) == (1, 0);
    // of the row alone: wrong answers of this class elsewhere are not excused
    let cost = |class: &ClassComparison| {
        let ClassScores { precision, recall, support, .. } = class.fp32;
        let right = recall * support as f64;
        let all = support as f64 + right / precision.max(f64::MIN_POSITIVE);
        100.0 * (2.0 * right / all - 2.0 * (right - 1.0) / (all - 1.0)) / found.per_class.len() as f64
    };
    let mut lost: Vec<f64> = found.per_class.iter().filter(one_lost).map(cost).collect();
    lost.sort_by(|a, b| b.total_cmp(a));
    lost.into_iter().take(most).filter(|points| *points > 0.0).sum()
}
