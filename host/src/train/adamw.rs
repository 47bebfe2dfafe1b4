use crate::bert::ops::{vectorized, with_values};
use crate::bert::{WORD_EMBEDDINGS, WordRows};
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// AdamW with decoupled decay (Loshchilov and Hutter, arXiv 1711.05101), updated in place, as `torch.optim.AdamW` with
/// the groups Transformers makes: no decay on biases and LayerNorms.
///
/// One difference, and it is meant: a row of an embedding table that never had a gradient stays as it was pretrained,
/// where PyTorch would decay it.
#[derive(Debug, Default)]
pub struct AdamW {
    /// First and second moment of each weight.
    pub(super) moments: BTreeMap<String, (Vec<f32>, Vec<f32>)>,
    /// Updates so far.
    pub(super) updates: u64,
}

/// Gradients of all weights.
#[derive(Debug, Default)]
pub struct Gradients {
    /// By weight name.
    dense: BTreeMap<String, Tensor>,
    /// Of the word embeddings: by row, in order.
    rows: BTreeMap<u32, Vec<f32>>,
}

impl Gradients {
    /// Adds the gradients of one batch, of which `words` are the rows it used.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn add(
        &mut self,
        weights: &BTreeMap<String, Var>,
        mut found: GradStore,
        words: &WordRows,
    ) -> Result<()> {
        for (name, weight) in weights {
            let Some(gradient) = found.remove(weight.as_tensor()) else { continue };
            let sum = match self.dense.remove(name) {
                Some(before) => (before + gradient)?,
                None => gradient,
            };
            self.dense.insert(name.clone(), sum);
        }
        let Some(gradient) = found.remove(&words.values) else { return Ok(()) };
        let width = gradient.dim(1)?;
        with_values(&gradient, |values| {
            for (id, values) in words.ids.iter().zip(values.chunks_exact(width)) {
                let row = self.rows.entry(*id).or_insert_with(|| vec![0.0; width]);
                row.iter_mut().zip(values).for_each(|(r, v)| *r += v);
            }
        })
    }

    /// The Euclidean norm of all of them together.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn norm(&self) -> Result<f64> {
        let mut squares: f64 = self.rows.values().map(|row| sum_of_squares(row)).sum();
        for gradient in self.dense.values() {
            let parts: Vec<f64> = with_values(gradient, |g| {
                g.par_chunks(CHUNK).map(|g| vectorized!(|| sum_of_squares(g))).collect()
            })?;
            squares += parts.iter().sum::<f64>();
        }
        Ok(squares.sqrt())
    }
}

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;
/// Values that one task updates; a multiple of no particular width.
const CHUNK: usize = 65_536;

/// The constants of one update of one weight.
#[derive(Clone, Copy)]
struct Step {
    rate: f32,
    decay: f32,
    /// `1 / (1 - beta^t)` of both moments.
    corrections: (f32, f32),
    /// What gradient clipping multiplies with.
    clip: f32,
}

#[inline(always)]
fn update(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], s: Step) {
    let n = p.len();
    let (m, v, g) = (&mut m[..n], &mut v[..n], &g[..n]);
    for i in 0..n {
        let g = g[i] * s.clip;
        m[i] = BETA1 * m[i] + (1.0 - BETA1) * g;
        v[i] = BETA2 * v[i] + (1.0 - BETA2) * g * g;
        let step = m[i] * s.corrections.0 / ((v[i] * s.corrections.1).sqrt() + EPSILON);
        p[i] = p[i] * (1.0 - s.rate * s.decay) - s.rate * step;
    }
}

#[inline(always)]
fn sum_of_squares(x: &[f32]) -> f64 {
    let mut total = 0.0;
    for chunk in x.chunks(4096) {
        let mut lanes = [0f32; 32];
        let whole = chunk.chunks_exact(32);
        let tail: f32 = whole.remainder().iter().map(|x| x * x).sum();
        for c in whole {
            for i in 0..32 {
                lanes[i] += c[i] * c[i];
            }
        }
        total += f64::from(lanes.iter().sum::<f32>() + tail);
    }
    total
}

/// Whether weight decay applies to a weight.
pub fn decays(name: &str) -> bool {
    !name.ends_with("bias") && !name.contains("LayerNorm")
}

impl AdamW {
    /// One update. `rate` gives the learning rate by weight name; gradients are scaled by `clip`.
    pub fn update(
        &mut self,
        weights: &BTreeMap<String, Var>,
        gradients: &Gradients,
        rate: impl Fn(&str) -> f64,
        decay: f64,
        clip: f64,
    ) -> Result<()> {
        self.updates += 1;
        let correction = |beta: f32| (1.0 / (1.0 - f64::from(beta).powi(self.updates as i32))) as f32;
        let corrections = (correction(BETA1), correction(BETA2));
        for (name, weight) in weights {
            let n = weight.elem_count();
            let step = Step {
                rate: rate(name) as f32,
                decay: if decays(name) { decay as f32 } else { 0.0 },
                corrections,
                clip: clip as f32,
            };
            let source = match gradients.dense.get(name) {
                Some(gradient) => Source::Dense(gradient.contiguous()?),
                None if name == WORD_EMBEDDINGS && !gradients.rows.is_empty() => {
                    Source::Rows { rows: &gradients.rows, width: weight.dims()[1] }
                }
                None => continue,
            };
            let moments = self.moments.entry(name.clone()).or_insert_with(|| (vec![0.0; n], vec![0.0; n]));
            weight.as_tensor().inplace_op1(&InPlace { moments: Mutex::new(moments), source, step })?;
        }
        Ok(())
    }
}

/// Where the gradient of a weight is.
enum Source<'a> {
    Dense(Tensor),
    Rows { rows: &'a BTreeMap<u32, Vec<f32>>, width: usize },
}

struct InPlace<'a> {
    moments: Mutex<&'a mut (Vec<f32>, Vec<f32>)>,
    source: Source<'a>,
    step: Step,
}

impl InplaceOp1 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(values), Some((from, to))) = (storage, layout.contiguous_offsets()) else {
            bail!("weights are contiguous f32");
        };
        let mut moments = self.moments.lock().expect("no panic while held");
        let (m, v) = &mut **moments;
        let p = &mut values[from..to];
        match &self.source {
            Source::Dense(gradient) => with_values(gradient, |g| {
                let weights =
                    p.par_chunks_mut(CHUNK).zip(m.par_chunks_mut(CHUNK)).zip(v.par_chunks_mut(CHUNK));
                weights
                    .zip(g.par_chunks(CHUNK))
                    .for_each(|(((p, m), v), g)| vectorized!(|| update(p, m, v, g, self.step)));
            }),
            Source::Rows { rows, width } => {
                let zeros = vec![0.0; *width];
                let all =
                    p.par_chunks_mut(*width).zip(m.par_chunks_mut(*width)).zip(v.par_chunks_mut(*width));
                all.enumerate().for_each(|(row, ((p, m), v))| match rows.get(&(row as u32)) {
                    Some(g) => vectorized!(|| update(p, m, v, g, self.step)),
                    // v is above 0 wherever there was a gradient, and stays so for longer than m
                    None if v.iter().all(|v| *v == 0.0) => {}
                    None => vectorized!(|| update(p, m, v, &zeros, self.step)),
                });
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Against the formulas of the paper in f64.
    #[test]
    fn follows_the_paper() {
        let start = [0.5f32, -1.0, 2.0];
        let var = Var::new(&start, &Device::Cpu).unwrap();
        let weights: BTreeMap<String, Var> = [("w.weight".to_string(), var)].into();
        let mut adam = AdamW::default();
        let (mut p, mut m, mut v) = (start.map(f64::from), [0f64; 3], [0f64; 3]);
        for t in 1..=20 {
            let g: Vec<f32> = (0..3).map(|i| ((t * 7 + i * 3) % 5) as f32 - 2.0).collect();
            let tensor = Tensor::from_slice(&g, 3, &Device::Cpu).unwrap();
            let dense = [("w.weight".to_string(), tensor)].into();
            adam.update(&weights, &Gradients { dense, ..Default::default() }, |_| 0.01, 0.1, 0.5).unwrap();
            for i in 0..3 {
                let g = f64::from(g[i]) * 0.5;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (mh, vh) = (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.999f64.powi(t)));
                p[i] -= 0.01 * 0.1 * p[i] + 0.01 * mh / (vh.sqrt() + 1e-8);
            }
        }
        let ours = weights["w.weight"].to_vec1::<f32>().unwrap();
        for (a, b) in ours.iter().zip(p) {
            assert!((f64::from(*a) - b).abs() < 1e-5, "{a} should be {b}");
        }
    }

    #[test]
    fn unseen_embedding_rows_keep_their_values() {
        let name = WORD_EMBEDDINGS.to_string();
        let var = Var::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let weights: BTreeMap<String, Var> = [(name.clone(), var)].into();
        let mut adam = AdamW::default();
        let some = Gradients { rows: [(1, vec![1.0, -1.0])].into(), ..Default::default() };
        adam.update(&weights, &some, |_| 0.1, 0.1, 1.0).unwrap();
        let after = weights[&name].to_vec2::<f32>().unwrap();
        assert_eq!(after[0], [1.0, 2.0]);
        assert!(after[1][0] < 3.0 && after[1][1] > 4.0);
        // a row that had a gradient once goes on moving
        let other = Gradients { rows: [(0, vec![0.0, 0.0])].into(), ..Default::default() };
        adam.update(&weights, &other, |_| 0.1, 0.1, 1.0).unwrap();
        assert!(weights[&name].to_vec2::<f32>().unwrap()[1][0] < after[1][0]);
    }

    #[test]
    fn norm_of_all() {
        let g = |x: &[f32]| Tensor::from_slice(x, x.len(), &Device::Cpu).unwrap();
        let dense = [("a".to_string(), g(&[2.0])), ("b".to_string(), g(&[0.0, 4.0]))].into();
        let gradients = Gradients { dense, rows: [(7, vec![2.0, 1.0])].into() };
        assert!((gradients.norm().unwrap() - 5.0).abs() < 1e-12);
    }
}
