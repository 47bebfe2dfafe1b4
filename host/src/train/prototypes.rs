use super::{Encoded, Error};
use crate::bert::{Classifier, Mode, Tape};
use crate::data::{Target, Task};
use crate::metrics::temperature;

/// Texts of each class that are looked at.
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
/// Gives whether the head was set: not where labels do not exclude each other, nor where all classes have one text alone.
///
/// # Errors
/// When the model cannot read a text.
pub fn set_prototypes(model: &mut Classifier, train: &Encoded) -> Result<bool, Error> {
    if train.data.task != Task::SingleLabel {
        return Ok(false);
    }
    let (vectors, classes) = vectors(model, train)?;
    let (width, labels) = (model.config().pooler_size(), model.config().num_labels());
    let mut counts = vec![0u32; labels];
    let mut sums = vec![0.0; labels * width];
    for (vector, class) in vectors.chunks_exact(width).zip(&classes) {
        counts[*class as usize] += 1;
        add(&mut sums[*class as usize * width..][..width], vector);
    }
    if counts.iter().all(|count| *count < 2) {
        return Ok(false);
    }
    let mut middle = vec![0.0; width];
    vectors.chunks_exact(width).for_each(|vector| add(&mut middle, vector));
    middle.iter_mut().for_each(|x| *x /= classes.len() as f32);
    let means: Vec<f32> = sums
        .chunks_exact(width)
        .zip(&counts)
        .flat_map(|(sum, count)| match count {
            0 => middle.clone(),
            count => sum.iter().map(|x| x / *count as f32).collect(),
        })
        .collect();
    let steep = SURE / left_out_temperature(&vectors, &classes, &sums, &means, &counts);
    let squares = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
    let of_class = |mean: &[f32]| -> (Vec<f32>, f32) {
        let weight = mean.iter().zip(&middle).map(|(mean, middle)| steep * (mean - middle)).collect();
        (weight, -0.5 * steep * (squares(mean) - squares(&middle)))
    };
    let (weight, bias): (Vec<_>, Vec<_>) = means.chunks_exact(width).map(of_class).unzip();
    for (name, values) in [("classifier.weight", weight.concat()), ("classifier.bias", bias)] {
        model.weights_mut().get_mut(name).expect("every classifier has a head").data = values;
    }
    Ok(true)
}

/// Vectors after the pooler of up to [`PER_CLASS`] texts of each class [texts, width], and their classes.
fn vectors(model: &Classifier, train: &Encoded) -> Result<(Vec<f32>, Vec<u32>), Error> {
    let mut taken = vec![0; model.config().num_labels()];
    let (mut rows, mut classes) = (Vec::new(), Vec::new());
    for (row, example) in (0..).zip(&train.data.examples) {
        if let Target::Class(class) = example.target
            && taken[class as usize] < PER_CLASS
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
fn left_out_temperature(
    vectors: &[f32],
    classes: &[u32],
    sums: &[f32],
    means: &[f32],
    counts: &[u32],
) -> f32 {
    let width = vectors.len() / classes.len();
    let (mut logits, mut gold) = (Vec::new(), Vec::new());
    for (vector, class) in vectors.chunks_exact(width).zip(classes) {
        let others = counts[*class as usize] - 1;
        if others == 0 {
            continue;
        }
        let own = sums[*class as usize * width..][..width]
            .iter()
            .zip(vector)
            .map(|(sum, x)| (sum - x) / others as f32);
        let own: Vec<f32> = own.collect();
        for (other, mean) in (0..).zip(means.chunks_exact(width)) {
            let mean = if other == *class { &own } else { mean };
            logits.push(-0.5 * vector.iter().zip(mean).map(|(x, m)| (x - m) * (x - m)).sum::<f32>());
        }
        gold.push(*class);
    }
    temperature(&logits, counts.len(), &gold)
}

fn add(sum: &mut [f32], x: &[f32]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
}
