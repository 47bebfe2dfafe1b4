use crate::bert::{CLASSIFIER, Classifier, Error, Gradients, Mode, OutputGradient, Tape};
use crate::data::{SplitMix, Task};
use crate::train::{Encoded, TargetScale};

/// How much the answers depend on each head, feed-forward column and pooler column.
#[derive(Debug, Clone, PartialEq)]
pub struct Importance {
    /// Importance within each layer.
    pub layers: Vec<LayerImportance>,
    /// Importance of each pooler column.
    pub pooler: Vec<f64>,
}

/// Importance of the parts of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerImportance {
    /// Importance of each head.
    pub heads: Vec<f64>,
    /// Importance of each feed-forward column.
    pub intermediate: Vec<f64>,
}

/// Texts per measurement: few, so that opposite effects on different texts do not cancel.
const BATCH: usize = 4;

/// Computes first-order Taylor importance (Molchanov et al., arXiv 1906.10771): the first-order change of the
/// margin of the model's own answer if a part were 0, as an absolute value per small batch, summed over
/// `rows` texts drawn with `seed`. Needs no labels.
///
/// A part's output times its gradient, summed over the tokens, equals the product of the weights that read it
/// and their gradients. So only those of `attention.output.dense`, `output.dense` and the classifier are
/// needed.
///
/// # Errors
/// If the model cannot read a text.
pub fn importance(model: &Classifier, texts: &Encoded, rows: usize, seed: u64) -> Result<Importance, Error> {
    let shapes = model.config().layers();
    let mut layers: Vec<LayerImportance> = shapes
        .iter()
        .map(|s| LayerImportance { heads: vec![0.0; s.heads], intermediate: vec![0.0; s.intermediate] })
        .collect();
    let mut pooler = vec![0.0; model.config().pooler_size()];
    let mut order: Vec<u32> = (0..texts.tokens.len() as u32).collect();
    SplitMix::new(seed, 0).shuffle(&mut order);
    order.truncate(rows);
    order.sort_by_key(|row| texts.tokens[*row as usize].ids.len());
    let (mut tape, mut gradients) = (Tape::default(), Gradients::new(model.weights()));
    // the deviations of several numbers, so that none outweighs the others
    let units: Vec<f32> = TargetScale::of(&texts.data).deviations().collect();
    let units = if units.len() > 1 { units } else { vec![1.0] };
    let head = CLASSIFIER;
    for rows in order.chunks(BATCH) {
        let batch = texts.batch(rows, model.config().pad_token_id as u32);
        let output = model.forward(&batch, Mode::Differentiate, &mut tape)?;
        let logits = margin_gradient(&output.logits, rows.len(), texts.data.task, &units);
        gradients.clear();
        model.backward(&mut tape, &OutputGradient { logits, ..Default::default() }, &mut gradients);
        if let Some(gradient) = gradients.get(head) {
            let columns = products(&model.weights()[head].data, gradient, pooler.len());
            pooler.iter_mut().zip(columns).for_each(|(total, x)| *total += x.abs());
        }
        for (i, (shape, sums)) in shapes.iter().zip(&mut layers).enumerate() {
            for (part, of, unit) in [
                ("attention.output.dense", &mut sums.heads, shape.head_size),
                ("output.dense", &mut sums.intermediate, 1),
            ] {
                let name = format!("bert.encoder.layer.{i}.{part}.weight");
                let Some(gradient) = gradients.get(&name) else { continue };
                let columns = products(&model.weights()[&name].data, gradient, of.len() * unit);
                for (total, unit) in of.iter_mut().zip(columns.chunks_exact(unit)) {
                    *total += unit.iter().sum::<f64>().abs();
                }
            }
        }
    }
    Ok(Importance { layers, pooler })
}

/// Returns the sum of `w * g` over each column.
fn products(w: &[f32], g: &[f32], columns: usize) -> Vec<f64> {
    let mut sums = vec![0.0; columns];
    for (w, g) in w.chunks_exact(columns).zip(g.chunks_exact(columns)) {
        for ((s, w), g) in sums.iter_mut().zip(w).zip(g) {
            *s += f64::from(w * g);
        }
    }
    sums
}

/// Returns the gradient of the margin with respect to the logits, summed over the texts. The margin is the
/// highest logit minus the second (single label), every logit in the direction of its answer (multi-label),
/// or the sum of the numbers in their `units` (regression).
fn margin_gradient(logits: &[f32], texts: usize, task: Task, units: &[f32]) -> Vec<f32> {
    let width = logits.len() / texts;
    let mut signs = Vec::with_capacity(logits.len());
    for row in logits.chunks_exact(width) {
        let at = signs.len();
        match task {
            Task::MultiLabel => signs.extend(row.iter().map(|x| x.signum())),
            Task::Regression => signs.extend(units.iter().map(|unit| 1.0 / unit)),
            Task::SingleLabel => {
                let mut order: Vec<usize> = (0..width).collect();
                order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
                signs.resize(at + width, 0f32);
                signs[at + order[0]] = 1.0;
                if let Some(second) = order.get(1) {
                    signs[at + second] = -1.0;
                }
            }
        }
    }
    signs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_is_between_the_answer_and_the_next() {
        let logits = [1.0, 3.0, -2.0, 0.5, 0.25, -1.0];
        assert_eq!(margin_gradient(&logits, 2, Task::SingleLabel, &[]), [-1.0, 1.0, 0.0, 1.0, -1.0, 0.0]);
        assert_eq!(margin_gradient(&logits, 2, Task::MultiLabel, &[]), [1.0, 1.0, -1.0, 1.0, 1.0, -1.0]);
        assert_eq!(margin_gradient(&[5.0, -2.0], 2, Task::Regression, &[1.0]), [1.0, 1.0]);
        assert_eq!(margin_gradient(&[5.0, -2.0], 1, Task::Regression, &[4.0, 0.5]), [0.25, 2.0]);
        assert_eq!(margin_gradient(&[5.0, -2.0], 2, Task::SingleLabel, &[]), [1.0, 1.0], "one label");
    }
}
