//! Rounding, training and widening, until int8 loses no more than it may.

use super::error::RunError;
use super::half_precision::pack_with_half_precision;
use super::pack::Packer;
use super::prepare::Prepared;
use super::progress::{Progress, Watch};
use super::quantization_aware::quantization_aware;
use super::{Aware, Quantize, Recipe};
use crate::evaluate::Comparison;
use crate::metrics::Metric;
use crate::quantize::Bits;
use std::path::{Path, PathBuf};

/// Packs the model of `folder` as it is; where int8 loses more than the gate allows, after learning to be rounded; where that does
/// not help, with some matrices in half precision.
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
        watch(Progress::Note(&format!("{refusal}: the model learns to be rounded")));
        packed = packer.pack(&aware(watch)?, bits, &[], watch);
    }
    if let (Err(RunError::Refused { refusal, .. }), true) = (&packed, recipe.quantize.widens()) {
        watch(Progress::Note(&format!("{refusal}: what loses most stays in half precision")));
        packed = pack_with_half_precision(&packer, bits, prepared, watch);
    }
    // not before the last try is over: an earlier run's bundle may be what comes out again
    if let Err(RunError::Refused { bundle, .. } | RunError::Pruned { bundle, .. }) = &packed {
        let _ = std::fs::remove_file(bundle);
    }
    packed
}

impl Quantize {
    /// Points that int8 may lose: as the recipe says, or half a point, or what one row more that is wrong comes to. `rounded`
    /// models have learned to be so, and of them a drop has to be more than chance: on 300 rows two say nothing, and would cost a
    /// bundle twice as slow.
    pub(super) fn allowed_drop(&self, found: &Comparison, rounded: bool) -> f64 {
        let last = rounded || self.aware == Aware::Never;
        // a drop beyond it is seen by chance once in twenty times: of a normal distribution's 95 % interval both ends are 1.96
        // deviations away, one end of its 90 % interval 1.645
        let by_chance = (found.interval.high - found.interval.low) / 2.0 * (1.645 / 1.96);
        let by_chance = if last { by_chance.min(1.0) } else { 0.0 };
        let one_row = if found.metric == Metric::Accuracy { 100.0 / found.rows.max(1) as f64 } else { 0.0 };
        // of a class of three rows one is many points of macro-F1: where no more than that answers otherwise, it is allowed
        let rows = if last { 2 } else { 1 };
        let few = found.agreeing.is_some_and(|agreeing| found.rows as u64 - agreeing <= rows);
        let of_rows = if few { -found.delta } else { one_row };
        self.max_drop.unwrap_or(of_rows.max(by_chance).max(0.5))
    }
}
