//! Initial head for single-label tasks.

use super::head::{Head, INITIAL_CONFIDENCE, add, squares};
use crate::metrics::temperature;

/// Makes a head in which a class is more likely the nearer a text's vector is to the mean of the class's
/// texts (Snell et al., Prototypical Networks, arXiv 1703.05175, section 2.4: with squared distances this is
/// a linear layer). The slope is a fifth ([`INITIAL_CONFIDENCE`]) of the one that fits the texts best, each
/// left out of its own class's mean. A class without texts is less likely than any other.
///
/// `vectors` is [texts, width]. `None` if every class has a single text, or all vectors are equal.
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

/// Returns the temperature that fits half the negative squared distances to the class means best, each text
/// being left out of its own class's mean. `None` if there is nothing to leave out, or distances say nothing
/// about classes.
fn left_out_temperature(vectors: &[f32], classes: &[u32], sums: &[f32], counts: &[u32]) -> Option<f32> {
    /// Average to which distances are scaled: well within the range of temperatures searched.
    const SCALE: f32 = 10.0;
    /// A temperature from here on, near the end of that range, means that distances are uninformative.
    const UNINFORMATIVE: f32 = 19.0;
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
    // all vectors are equal, up to rounding
    let least = super::head::squares(vectors) / classes.len() as f32 * 1e-6;
    if !(unit > least && unit.is_finite()) {
        return None;
    }
    logits.iter_mut().for_each(|x| *x /= unit);
    Some(temperature(&logits, present.len(), &gold)).filter(|t| *t < UNINFORMATIVE).map(|t| t * unit)
}
