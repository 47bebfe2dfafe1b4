use super::elementwise::drop_into;
use super::gemm::{Matrix, multiply};
use super::{exp, sum, values, vectorized, with_values};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::sync::{Arc, Mutex};

/// What attention needs beside queries, keys and values.
#[derive(Debug, Clone)]
pub struct Attention {
    /// Tokens in a text of this batch, padding included.
    pub sequence: usize,
    /// Query rows of a text: `sequence`, or 1 where only the first token's result is needed.
    pub queries: usize,
    /// Heads.
    pub heads: usize,
    /// Width of one head.
    pub head_size: usize,
    /// 0 for a token, a large negative number for padding: [texts * sequence].
    pub mask: Arc<[f32]>,
    /// Share of the probabilities to drop.
    pub dropout: f32,
    /// Seed of that dropout.
    pub seed: u32,
}

/// `softmax(q kᵀ / sqrt(head size) + mask) v` for every head: k, v [texts * sequence, heads * head size],
/// q and result [texts * queries, heads * head size].
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, spec: Attention) -> Result<Tensor> {
    q.apply_op3(k, v, Op { spec, probabilities: Mutex::default() })
}

struct Op {
    spec: Attention,
    /// Kept for backward: [texts, heads, queries, sequence], before dropout.
    probabilities: Mutex<Vec<f32>>,
}

#[inline(always)]
fn softmax(scores: &[f32], mask: &[f32], out: &mut [f32], scale: f32) {
    let n = mask.len();
    for (x, y) in scores.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        let mut max = f32::NEG_INFINITY;
        for i in 0..n {
            y[i] = x[i] * scale + mask[i];
            max = max.max(y[i]);
        }
        for y in y.iter_mut() {
            *y = exp(*y - max);
        }
        let inverse = 1.0 / sum(y);
        y.iter_mut().for_each(|y| *y *= inverse);
    }
}

/// Gradient of the scores from that of the probabilities, in place.
#[inline(always)]
fn softmax_backward(p: &[f32], g: &mut [f32], n: usize, scale: f32) {
    let mut products = vec![0.0; n];
    for (p, g) in p.chunks_exact(n).zip(g.chunks_exact_mut(n)) {
        for i in 0..n {
            products[i] = p[i] * g[i];
        }
        let s = sum(&products);
        for i in 0..n {
            g[i] = p[i] * (g[i] - s) * scale;
        }
    }
}

impl Op {
    fn scale(&self) -> f32 {
        1.0 / (self.spec.head_size as f32).sqrt()
    }

    /// Drops from `x` into `y` what this head of this text drops.
    fn dropped(&self, text: usize, head: usize, x: &[f32], y: &mut [f32]) {
        if self.spec.dropout == 0.0 {
            return y.copy_from_slice(x);
        }
        let offset = (text * self.spec.heads + head) * x.len();
        vectorized!(|| drop_into(x, y, offset, self.spec.dropout, self.spec.seed));
    }
}

impl CustomOp3 for Op {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        qs: &CpuStorage,
        ql: &Layout,
        ks: &CpuStorage,
        kl: &Layout,
        vs: &CpuStorage,
        vl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = (values(qs, ql)?, values(ks, kl)?, values(vs, vl)?);
        let Attention { sequence: s, queries: m, heads, head_size: d, ref mask, .. } = self.spec;
        let width = heads * d;
        let texts = q.len() / (m * width);
        let mut out = vec![0.0; q.len()];
        let mut probabilities = vec![0.0; texts * heads * m * s];
        out.par_chunks_mut(m * width).zip(probabilities.par_chunks_mut(heads * m * s)).enumerate().for_each(
            |(text, (out, probabilities))| {
                let mut scratch = vec![0.0; m * s];
                for (head, p) in probabilities.chunks_exact_mut(m * s).enumerate() {
                    let at = text * s * width + head * d;
                    let view = |x| Matrix::new(x, s, d, width);
                    let q = Matrix::new(&q[text * m * width + head * d..], m, d, width);
                    multiply(&mut scratch, s, q, view(&k[at..]).t(), false, 1);
                    vectorized!(|| softmax(&scratch, &mask[text * s..][..s], p, self.scale()));
                    self.dropped(text, head, p, &mut scratch);
                    let p = Matrix::new(&scratch, m, s, s);
                    multiply(&mut out[head * d..], width, p, view(&v[at..]), false, 1);
                }
            },
        );
        *self.probabilities.lock().expect("no panic while held") = probabilities;
        Ok((CpuStorage::F32(out), ql.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let probabilities = self.probabilities.lock().expect("no panic while held");
        let gradients = with_values(q, |q| {
            with_values(k, |k| {
                with_values(v, |v| with_values(grad, |g| self.backward(q, k, v, g, &probabilities)))
            })
        })????;
        let [dq, dk, dv] = gradients;
        let tensor = |d, like: &Tensor| Tensor::from_vec(d, like.shape(), like.device());
        Ok((Some(tensor(dq, q)?), Some(tensor(dk, k)?), Some(tensor(dv, v)?)))
    }
}

impl Op {
    fn backward(&self, q: &[f32], k: &[f32], v: &[f32], g: &[f32], probabilities: &[f32]) -> [Vec<f32>; 3] {
        let Attention { sequence: s, queries: m, heads, head_size: d, .. } = self.spec;
        let width = heads * d;
        let [mut dq, mut dk, mut dv] = [q, k, v].map(|x| vec![0.0; x.len()]);
        let (rows, chunk) = (m * width, s * width);
        let gradients = dq.par_chunks_mut(rows).zip(dk.par_chunks_mut(chunk)).zip(dv.par_chunks_mut(chunk));
        gradients.zip(probabilities.par_chunks(heads * m * s)).enumerate().for_each(
            |(text, (((dq, dk), dv), p))| {
                let (mut dropped, mut ds) = (vec![0.0; m * s], vec![0.0; m * s]);
                for (head, p) in p.chunks_exact(m * s).enumerate() {
                    let to = head * d;
                    let [q, g] = [q, g].map(|x| Matrix::new(&x[text * rows + to..], m, d, width));
                    let [k, v] = [k, v].map(|x| Matrix::new(&x[text * chunk + to..], s, d, width));
                    self.dropped(text, head, p, &mut dropped);
                    multiply(&mut dv[to..], width, Matrix::new(&dropped, m, s, s).t(), g, false, 1);
                    multiply(&mut dropped, s, g, v.t(), false, 1);
                    self.dropped(text, head, &dropped, &mut ds);
                    vectorized!(|| softmax_backward(p, &mut ds, s, self.scale()));
                    let ds = Matrix::new(&ds, m, s, s);
                    multiply(&mut dq[to..], width, ds, k, false, 1);
                    multiply(&mut dk[to..], width, ds.t(), q, false, 1);
                }
            },
        );
        [dq, dk, dv]
    }
}
