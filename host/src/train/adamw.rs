use crate::bert::ops::vectorized;
use crate::bert::{Array, Gradients, WORD_EMBEDDINGS};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// AdamW with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101), updating in place. Same as
/// `torch.optim.AdamW` with Transformers' parameter groups: no decay on biases and LayerNorms.
///
/// One deliberate difference: rows of the word embeddings that never had a gradient keep their pretrained
/// values, whereas PyTorch would decay them.
#[derive(Debug, Default)]
pub struct AdamW {
    /// First and second moments of each weight.
    pub(super) moments: BTreeMap<String, (Vec<f32>, Vec<f32>)>,
    /// Number of updates so far.
    pub(super) updates: u64,
    /// Rows of the word embeddings that ever had a gradient; empty until first needed.
    seen: Vec<bool>,
}

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;
/// First moments below this become 0. They have no effect, but in rows long unseen they would become
/// subnormal, which slows an update down several times.
const LEAST: f32 = 1e-30;
/// Number of values that one parallel task updates.
const CHUNK: usize = 65_536;

/// The constants of one update of one weight.
#[derive(Clone, Copy)]
struct Step {
    rate: f32,
    decay: f32,
    /// Bias corrections `1 / (1 - beta^t)` of the two moments.
    corrections: (f32, f32),
    /// Factor from gradient clipping.
    clip: f32,
}

#[inline(always)]
fn update(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], s: Step) {
    let n = p.len();
    let (m, v, g) = (&mut m[..n], &mut v[..n], &g[..n]);
    for i in 0..n {
        let g = g[i] * s.clip;
        let first = BETA1 * m[i] + (1.0 - BETA1) * g;
        m[i] = if first.abs() < LEAST { 0.0 } else { first };
        v[i] = BETA2 * v[i] + (1.0 - BETA2) * g * g;
        let step = m[i] * s.corrections.0 / ((v[i] * s.corrections.1).sqrt() + EPSILON);
        p[i] = p[i] * (1.0 - s.rate * s.decay) - s.rate * step;
    }
}

/// Returns whether weight decay applies to a weight.
fn decays(name: &str) -> bool {
    !name.ends_with("bias") && !name.contains("LayerNorm")
}

impl AdamW {
    /// Makes one update. `rate` returns the learning rate for a weight's name; gradients are scaled by
    /// `clip`.
    pub fn update(
        &mut self,
        weights: &mut BTreeMap<String, Array>,
        gradients: &Gradients,
        rate: impl Fn(&str) -> f64,
        decay: f64,
        clip: f64,
    ) {
        self.updates += 1;
        let correction = |beta: f32| (1.0 / (1.0 - f64::from(beta).powi(self.updates as i32))) as f32;
        let corrections = (correction(BETA1), correction(BETA2));
        for (name, weight) in weights {
            let gradient = gradients.get(name);
            let is_table = name == WORD_EMBEDDINGS && gradients.rows().next().is_some();
            if gradient.is_none() && !is_table {
                continue;
            }
            let step = Step {
                rate: rate(name) as f32,
                decay: if decays(name) { decay as f32 } else { 0.0 },
                corrections,
                clip: clip as f32,
            };
            let n = weight.data.len();
            let (m, v) = self.moments.entry(name.clone()).or_insert_with(|| (vec![0.0; n], vec![0.0; n]));
            match gradient {
                Some(g) => update_all(&mut weight.data, m, v, g, step),
                None => update_rows(weight, m, v, gradients, &mut self.seen, step),
            }
        }
    }
}

fn update_all(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], step: Step) {
    let chunks = p.par_chunks_mut(CHUNK).zip(m.par_chunks_mut(CHUNK)).zip(v.par_chunks_mut(CHUNK));
    chunks.zip(g.par_chunks(CHUNK)).for_each(|(((p, m), v), g)| vectorized!(|| update(p, m, v, g, step)));
}

/// Updates the rows of the word embeddings that have, or ever had, a gradient.
fn update_rows(
    table: &mut Array,
    m: &mut [f32],
    v: &mut [f32],
    gradients: &Gradients,
    seen: &mut Vec<bool>,
    step: Step,
) {
    let (_, width) = table.dims2();
    // v is positive wherever there was a gradient, and stays so for longer than m
    let moves = |v: &[f32]| v.iter().any(|v| *v != 0.0);
    if seen.is_empty() {
        seen.extend(v.chunks_exact(width).map(moves));
    }
    let mut given: Vec<Option<&[f32]>> = vec![None; seen.len()];
    gradients.rows().for_each(|(row, g)| given[row as usize] = Some(g));
    let zeros = vec![0.0; width];
    let rows = table.data.par_chunks_mut(width).zip(m.par_chunks_mut(width)).zip(v.par_chunks_mut(width));
    let rows = rows.zip(&mut *seen).zip(&given).with_min_len(CHUNK / width);
    rows.for_each(|((((p, m), v), seen), g)| {
        if g.is_some() || *seen {
            vectorized!(|| update(p, m, v, g.unwrap_or(&zeros), step));
            *seen = moves(v);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(name: &str, shape: &[usize], data: &[f32]) -> BTreeMap<String, Array> {
        [(name.to_string(), Array { shape: shape.to_vec(), data: data.to_vec() })].into()
    }

    /// Compares with the formulas of the paper in f64.
    #[test]
    fn follows_the_paper() {
        let start = [0.5f32, -1.0, 2.0];
        let mut weights = weights("w.weight", &[3], &start);
        let mut gradients = Gradients::new(&weights);
        let mut adam = AdamW::default();
        let (mut p, mut m, mut v) = (start.map(f64::from), [0f64; 3], [0f64; 3]);
        for t in 1..=20 {
            let g: Vec<f32> = (0..3).map(|i| ((t * 7 + i * 3) % 5) as f32 - 2.0).collect();
            gradients.clear();
            gradients.slot("w.weight").values.copy_from_slice(&g);
            adam.update(&mut weights, &gradients, |_| 0.01, 0.1, 0.5);
            for i in 0..3 {
                let g = f64::from(g[i]) * 0.5;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (mh, vh) = (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.999f64.powi(t)));
                p[i] -= 0.01 * 0.1 * p[i] + 0.01 * mh / (vh.sqrt() + 1e-8);
            }
        }
        for (a, b) in weights["w.weight"].data.iter().zip(p) {
            assert!((f64::from(*a) - b).abs() < 1e-5, "{a} should be {b}");
        }
    }

    #[test]
    fn biases_and_norms_do_not_decay() {
        for (name, decays) in [
            ("bert.pooler.dense.weight", true),
            ("bert.embeddings.position_embeddings.weight", true),
            ("bert.pooler.dense.bias", false),
            ("bert.encoder.layer.0.output.LayerNorm.weight", false),
            ("bert.embeddings.LayerNorm.bias", false),
        ] {
            let mut weights = weights(name, &[1], &[1.0]);
            let mut gradients = Gradients::new(&weights);
            gradients.slot(name).values.fill(0.0);
            AdamW::default().update(&mut weights, &gradients, |_| 0.1, 0.5, 1.0);
            assert_eq!(weights[name].data, [if decays { 0.95 } else { 1.0 }], "{name}");
        }
    }

    /// Subnormal numbers would slow each update of the row down several times.
    #[test]
    fn rows_long_unseen_have_no_subnormal_moments() {
        let mut weights = weights(WORD_EMBEDDINGS, &[2, 1], &[1.0, 1.0]);
        let (mut adam, mut gradients) = (AdamW::default(), Gradients::new(&weights));
        gradients.add_rows(&[0, 1], &[1e-3, 1e-3]);
        for _ in 0..800 {
            adam.update(&mut weights, &gradients, |_| 0.1, 0.0, 1.0);
            gradients.clear();
            gradients.add_rows(&[1], &[1e-3]);
        }
        let (m, v) = &adam.moments[WORD_EMBEDDINGS];
        assert!(m[0] == 0.0 && m[1] > 9e-4 && v[0] > 0.0);
    }

    #[test]
    fn unseen_embedding_rows_keep_their_values() {
        let mut weights = weights(WORD_EMBEDDINGS, &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let mut adam = AdamW::default();
        let mut gradients = Gradients::new(&weights);
        gradients.add_rows(&[1], &[1.0, -1.0]);
        adam.update(&mut weights, &gradients, |_| 0.1, 0.1, 1.0);
        let after = weights[WORD_EMBEDDINGS].data.clone();
        assert_eq!(after[..2], [1.0, 2.0]);
        assert!(after[2] < 3.0 && after[3] > 4.0);
        // a row that once had a gradient keeps moving
        gradients.clear();
        gradients.add_rows(&[0], &[0.0, 0.0]);
        adam.update(&mut weights, &gradients, |_| 0.1, 0.1, 1.0);
        assert!(weights[WORD_EMBEDDINGS].data[2] < after[2]);
    }

    /// Rows are updated as a whole matrix would be with gradients of zero, from their first gradient on.
    #[test]
    fn rows_are_updated_as_a_whole_matrix() {
        let start: Vec<f32> = (0..8).map(|i| 0.3 * i as f32 - 1.0).collect();
        let mut table = weights(WORD_EMBEDDINGS, &[4, 2], &start);
        let mut matrix = weights("w.weight", &[4, 2], &start);
        let (mut of_table, mut of_matrix) = (Gradients::new(&table), Gradients::new(&matrix));
        let (mut sparse, mut dense) = (AdamW::default(), AdamW::default());
        for step in 0..12 {
            of_table.clear();
            of_matrix.clear();
            of_matrix.slot("w.weight").values.fill(0.0);
            // every row but the last, all of them in the first step
            let rows: &[u32] = if step == 0 { &[2, 0, 1] } else { &[step % 3, (step + 1) % 3] };
            for row in rows {
                let g = [0.1 * step as f32 - 0.4, f32::from(u8::from(*row == 1)) - 0.5];
                of_table.add_rows(&[*row], &g);
                of_matrix.slot("w.weight").values[2 * *row as usize..][..2].copy_from_slice(&g);
            }
            sparse.update(&mut table, &of_table, |_| 0.05, 0.1, 0.7);
            dense.update(&mut matrix, &of_matrix, |_| 0.05, 0.1, 0.7);
            let (table, matrix) = (&table[WORD_EMBEDDINGS].data, &matrix["w.weight"].data);
            assert_eq!((&table[..6], &table[6..]), (&matrix[..6], &start[6..]), "step {step}");
        }
    }
}
