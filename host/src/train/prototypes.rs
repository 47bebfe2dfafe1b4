//! A head for labels that exclude each other.

use super::head::{Head, INITIAL_CONFIDENCE, add, squares};
use crate::metrics::temperature;

/// A class is as likely as a text's vector is near the mean of the class's texts (Snell et al., Prototypical Networks, arXiv
/// 1703.05175, section 2.4: with squared distances that is a linear layer). How steeply is a fifth ([`INITIAL_CONFIDENCE`]) of what suits the
/// texts best, each left out of its own class's mean. A class without texts is less likely than any other.
///
/// `vectors` is [texts, width]. `None` where all classes have one text alone or lie in one place.
pub(super) fn prototypes(vectors: &[f32], classes: &[u32], labels: usize) -> Option<Head> {
    let width = vectors.len() / classes.len().max(1);
    let mut counts = vec![0u32; labels];
    let mut sums = vec![0.0; labels * width];
    let mut middle = vec![0.0; width];
    for (vector, class) in vectors.chunks_exact(width.max(1)).zip(classes) {
        counts[*class as usize] += 1;
        add(&mut sums[*class as usize * width..][..width], vector);
        add(&mut middle, vector);
    }
    middle.iter_mut().for_each(|x| *x /= classes.len() as f32);
    let steep = INITIAL_CONFIDENCE / left_out_temperature(vectors, classes, &sums, &counts)?;
    let of_class = |(sum, count): (&[f32], &u32)| match count {
        0 => (vec![0.0; width], f32::INFINITY),
        count => {
            let mean: Vec<f32> = sum.iter().map(|x| x / *count as f32).collect();
            let weight = mean.iter().zip(&middle).map(|(mean, middle)| steep * (mean - middle)).collect();
            (weight, -0.5 * steep * (squares(&mean) - squares(&middle)))
        }
    };
    let (weight, mut bias): (Vec<_>, Vec<_>) = sums.chunks_exact(width).zip(&counts).map(of_class).unzip();
    if counts.contains(&0) {
        let logits = vectors.chunks_exact(width).flat_map(|vector| {
            let of = move |(row, bias): (&Vec<f32>, &f32)| {
                row.iter().zip(vector).map(|(w, x)| w * x).sum::<f32>() + bias
            };
            weight.iter().zip(&bias).map(of)
        });
        let least = logits.fold(f32::INFINITY, f32::min);
        bias.iter_mut().filter(|bias| bias.is_infinite()).for_each(|bias| *bias = least - 1.0);
    }
    Some(Head { weight: weight.concat(), bias })
}

/// What half the negative squared distances to the classes' means are best divided by, each text's own class being without it.
/// `None` where there is nothing to leave out, or distances say nothing about classes.
fn left_out_temperature(vectors: &[f32], classes: &[u32], sums: &[f32], counts: &[u32]) -> Option<f32> {
    /// What the distances are scaled to on average: far within the temperatures that are searched.
    const SCALE: f32 = 10.0;
    /// Near the highest of those.
    const NOTHING: f32 = 19.0;
    let width = vectors.len() / classes.len().max(1);
    let present: Vec<u32> = (0..counts.len() as u32).filter(|class| counts[*class as usize] > 0).collect();
    let (mut logits, mut gold) = (Vec::new(), Vec::new());
    for (vector, own) in vectors.chunks_exact(width.max(1)).zip(classes) {
        if counts[*own as usize] < 2 {
            continue;
        }
        for (column, class) in (0..).zip(&present) {
            let left_out = class == own;
            let count = (counts[*class as usize] - u32::from(left_out)) as f32;
            let sum = &sums[*class as usize * width..][..width];
            let apart = vector.iter().zip(sum).map(|(x, sum)| {
                let mean = if left_out { (sum - x) / count } else { sum / count };
                (x - mean) * (x - mean)
            });
            logits.push(-0.5 * apart.sum::<f32>());
            if left_out {
                gold.push(column);
            }
        }
    }
    let unit = -logits.iter().sum::<f32>() / (SCALE * logits.len() as f32);
    // all in one place, but for rounding
    let least = super::head::squares(vectors) / classes.len() as f32 * 1e-6;
    if !(unit > least && unit.is_finite()) {
        return None;
    }
    logits.iter_mut().for_each(|x| *x /= unit);
    Some(temperature(&logits, present.len(), &gold)).filter(|t| *t < NOTHING).map(|t| t * unit)
}
