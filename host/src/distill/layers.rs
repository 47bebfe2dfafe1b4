use super::objective::soft_loss;
use super::{Layers, cut_layers};
use crate::bert::{self, Checkpoint, Classifier};
use crate::data::SplitMix;
use crate::metrics::balanced;
use crate::train::{Encoded, Error, predict};

/// Number of texts that choices of layers are compared on, and the limits of an exhaustive search.
const TEXTS: usize = 512;
const MOST_CHOICES: usize = 100;
const MOST_LAYERS: usize = 16;

/// Returns the layers, out of `all`, that a student is made of.
///
/// A count is spread evenly and ends with the last layer: 3 of 6 are 1, 3, 5.
///
/// # Errors
/// If there are more layers than the model has, one that it lacks, or they are out of order.
pub fn chosen_layers(layers: &Layers, all: usize) -> Result<Vec<usize>, bert::Error> {
    let refused = || bert::Error::Layers { asked: layers.to_string(), all };
    let chosen: Vec<usize> = match layers {
        Layers::Count(n) if *n > all => return Err(refused()),
        Layers::Count(n) => (1..=*n).map(|i| (i * all).div_ceil((*n).max(1)).saturating_sub(1)).collect(),
        Layers::These(list) => list.clone(),
    };
    if chosen.iter().any(|l| *l >= all) || !chosen.is_sorted_by(|a, b| a < b) {
        return Err(refused());
    }
    Ok(chosen)
}

/// Returns the `n` layers of which an untrained student disagrees least with the teachers, or `None` if there
/// are too many choices to try. `logits` are the teachers' for `texts` (and possibly further texts after
/// them).
///
/// # Errors
/// If `n` is more than the model has.
pub fn best_layers(
    model: &Checkpoint,
    n: usize,
    texts: &Encoded,
    logits: &[f32],
) -> Result<Option<Vec<usize>>, Error> {
    let all = model.config.num_hidden_layers;
    let spread = chosen_layers(&Layers::Count(n), all)?;
    // choices of n layers, as bit sets
    let chosen = |bits: u32| (0..all).filter(|i| bits >> i & 1 == 1).collect::<Vec<_>>();
    let choices: Vec<u32> =
        (0..1u32 << all.min(MOST_LAYERS)).filter(|bits| bits.count_ones() as usize == n).collect();
    if choices.len() > MOST_CHOICES || all > MOST_LAYERS {
        return Ok(None);
    }
    let mut rows: Vec<usize> = (0..texts.tokens.len()).collect();
    SplitMix::new(0, 2).shuffle(&mut rows);
    rows.truncate(TEXTS);
    let width = model.config.num_labels();
    let wanted: Vec<f32> = rows.iter().flat_map(|r| &logits[r * width..][..width]).copied().collect();
    let loss = soft_loss(texts.data.task, balanced(&texts.data, &wanted, &wanted).into_owned(), 1.0);
    let drawn = texts.subset(&rows);
    let mut best = (f64::INFINITY, spread);
    for layers in choices.into_iter().map(chosen) {
        let student = Classifier::new(cut_layers(model, &layers)?, 0)?;
        let found = predict(&student, &drawn, &mut |_| ())?;
        let (value, _) = loss.value_and_gradient(&balanced(&texts.data, &wanted, &found), rows.len());
        if value < best.0 {
            best = (value, layers);
        }
    }
    Ok(Some(best.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_counts_are_spread_and_end_with_the_last() {
        assert_eq!(chosen_layers(&Layers::Count(3), 6).unwrap(), [1, 3, 5]);
        assert_eq!(chosen_layers(&Layers::Count(4), 6).unwrap(), [1, 2, 4, 5]);
        assert_eq!(chosen_layers(&Layers::Count(1), 6).unwrap(), [5]);
        assert_eq!(chosen_layers(&Layers::Count(6), 6).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert!(chosen_layers(&Layers::Count(7), 6).is_err());
        assert!(chosen_layers(&Layers::These(vec![0, 6]), 6).is_err());
    }
}
