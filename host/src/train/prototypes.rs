use super::{Encoded, Error};
use crate::bert::{Classifier, Mode, Tape};
use crate::data::{Target, Task};
use crate::metrics::temperature;

/// Texts that are looked at, of all classes together, and of each at most.
const TEXTS: usize = 4096;
const PER_CLASS: usize = 64;
/// Texts a batch.
const BATCH: usize = 64;
/// How sure the head is at the start, of what it has reason to be: where it is as sure as it may be, few texts are soon told apart
/// without that the encoder learns from them. (Measured with 1: 5 points less after training on 100 texts of TREC-6, docs/sizes.md.)
const SURE: f32 = 0.2;

/// Sets the head to what the encoder knows already: a class is as likely as a text's vector, after the pooler, is near the mean
/// of the class's texts (Snell et al., Prototypical Networks, arXiv 1703.05175, section 2.4: with squared distances that is a
/// linear layer). How steeply is a fifth of what suits the texts best, each left out of its own class's mean: see `SURE`.
///
/// Gives whether the head was set: not where labels do not exclude each other, nor where all classes have one text alone or lie
/// in one place. A class without texts is less likely than any other.
///
/// # Errors
/// When the model cannot read a text.
///
/// # Panics
/// When a text has a class that the model lacks.
pub fn set_prototypes(model: &mut Classifier, train: &Encoded) -> Result<bool, Error> {
    if train.data.task != Task::SingleLabel {
        return Ok(false);
    }
    let (vectors, classes) = vectors(model, train)?;
    let (width, labels) = (model.config().pooler_size(), model.config().num_labels());
    let mut counts = vec![0u32; labels];
    let mut sums = vec![0.0; labels * width];
    let mut middle = vec![0.0; width];
    for (vector, class) in vectors.chunks_exact(width).zip(&classes) {
        counts[*class as usize] += 1;
        add(&mut sums[*class as usize * width..][..width], vector);
        add(&mut middle, vector);
    }
    middle.iter_mut().for_each(|x| *x /= classes.len() as f32);
    let Some(temperature) = left_out_temperature(&vectors, &classes, &sums, &counts) else {
        return Ok(false);
    };
    let steep = SURE / temperature;
    let squares = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
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
    for (name, values) in [("classifier.weight", weight.concat()), ("classifier.bias", bias)] {
        model.weights_mut().get_mut(name).expect("every classifier has a head").data = values;
    }
    Ok(true)
}

/// Vectors after the pooler of the first texts of each class [texts, width], and their classes.
fn vectors(model: &Classifier, train: &Encoded) -> Result<(Vec<f32>, Vec<u32>), Error> {
    let labels = model.config().num_labels();
    let most = (TEXTS / labels).clamp(2, PER_CLASS);
    let mut taken = vec![0; labels];
    let (mut rows, mut classes) = (Vec::new(), Vec::new());
    for (row, example) in (0..).zip(&train.data.examples) {
        if let Target::Class(class) = example.target
            && taken[class as usize] < most
        {
            taken[class as usize] += 1;
            rows.push(row);
            classes.push(class);
        }
    }
    let (mut vectors, mut tape) = (Vec::new(), Tape::default());
    for rows in rows.chunks(BATCH) {
        model.forward(&train.batch(rows, model.config().pad_token_id as u32), Mode::Evaluate, &mut tape)?;
        vectors.extend(tape.pooled());
    }
    Ok((vectors, classes))
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
    if !(unit > 0.0 && unit.is_finite()) {
        return None;
    }
    logits.iter_mut().for_each(|x| *x /= unit);
    Some(temperature(&logits, present.len(), &gold)).filter(|t| *t < NOTHING).map(|t| t * unit)
}

fn add(sum: &mut [f32], x: &[f32]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
}
