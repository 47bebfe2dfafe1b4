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

/// `softmax(q kᵀ / sqrt(head size) + mask) v` for every head: q, k, v and result [texts * sequence, heads * head size].
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, spec: Attention) -> Result<Tensor> {
    q.apply_op3(k, v, Op { spec, probabilities: Mutex::default() })
}

struct Op {
    spec: Attention,
    /// Kept for backward: [texts, heads, sequence, sequence], before dropout.
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
        vectorized(|| drop_into(x, y, offset, self.spec.dropout, self.spec.seed));
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
        let Attention { sequence: s, heads, head_size: d, ref mask, .. } = self.spec;
        let width = heads * d;
        let texts = q.len() / (s * width);
        let mut out = vec![0.0; q.len()];
        let mut probabilities = vec![0.0; texts * heads * s * s];
        out.par_chunks_mut(s * width).zip(probabilities.par_chunks_mut(heads * s * s)).enumerate().for_each(
            |(text, (out, probabilities))| {
                let mut scratch = vec![0.0; s * s];
                for (head, p) in probabilities.chunks_exact_mut(s * s).enumerate() {
                    let at = text * s * width + head * d;
                    let view = |x| Matrix::new(x, s, d, width);
                    multiply(&mut scratch, s, view(&q[at..]), view(&k[at..]).t(), false, 1);
                    vectorized(|| softmax(&scratch, &mask[text * s..][..s], p, self.scale()));
                    self.dropped(text, head, p, &mut scratch);
                    let p = Matrix::new(&scratch, s, s, s);
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
        let [dq, dk, dv] = gradients.map(|d| Tensor::from_vec(d, q.shape(), q.device()));
        Ok((Some(dq?), Some(dk?), Some(dv?)))
    }
}

fn square(x: &[f32], n: usize) -> Matrix<'_> {
    Matrix::new(x, n, n, n)
}

impl Op {
    fn backward(&self, q: &[f32], k: &[f32], v: &[f32], g: &[f32], probabilities: &[f32]) -> [Vec<f32>; 3] {
        let Attention { sequence: s, heads, head_size: d, .. } = self.spec;
        let width = heads * d;
        let [mut dq, mut dk, mut dv] = [(); 3].map(|()| vec![0.0; q.len()]);
        let chunk = s * width;
        let gradients = dq.par_chunks_mut(chunk).zip(dk.par_chunks_mut(chunk)).zip(dv.par_chunks_mut(chunk));
        gradients.zip(probabilities.par_chunks(heads * s * s)).enumerate().for_each(|(text, (((dq, dk), dv), p))| {
            let (mut dropped, mut ds) = (vec![0.0; s * s], vec![0.0; s * s]);
            for (head, p) in p.chunks_exact(s * s).enumerate() {
                let (at, to) = (text * chunk + head * d, head * d);
                let view = |x| Matrix::new(x, s, d, width);
                let g = view(&g[at..]);
                self.dropped(text, head, p, &mut dropped);
                multiply(&mut dv[to..], width, square(&dropped, s).t(), g, false, 1);
                multiply(&mut dropped, s, g, view(&v[at..]).t(), false, 1);
                self.dropped(text, head, &dropped, &mut ds);
                vectorized(|| softmax_backward(p, &mut ds, s, self.scale()));
                multiply(&mut dq[to..], width, square(&ds, s), view(&k[at..]), false, 1);
                multiply(&mut dk[to..], width, square(&ds, s).t(), view(&q[at..]), false, 1);
            }
        });
        [dq, dk, dv]
    }
}
