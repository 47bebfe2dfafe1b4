use super::elementwise::Dropout;
use super::gemm::{Matrix, multiply};
use super::{exp, sum, vectorized};
use rayon::prelude::*;

/// Dimensions, mask and dropout of multi-head attention.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Tokens per text of the batch, padding included.
    pub sequence: usize,
    /// Query rows per text: `sequence`, or 1 where only the first token's result is needed.
    pub queries: usize,
    /// Number of heads.
    pub heads: usize,
    /// Width of one head.
    pub head_size: usize,
    /// 0 for a token, a large negative number for padding: [texts * sequence].
    pub mask: &'a [f32],
    /// What is added to the products of queries and keys for the distances between tokens: [heads, sequence,
    /// sequence]. It has no gradient.
    pub distances: Option<&'a [f32]>,
    /// Dropout on the probabilities.
    pub dropout: Dropout,
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

/// Turns the gradient of the probabilities into that of the scores, in place.
#[inline(always)]
fn softmax_backward(p: &[f32], g: &mut [f32], products: &mut [f32], scale: f32) {
    let n = products.len();
    for (p, g) in p.chunks_exact(n).zip(g.chunks_exact_mut(n)) {
        for i in 0..n {
            products[i] = p[i] * g[i];
        }
        let s = sum(products);
        for i in 0..n {
            g[i] = p[i] * (g[i] - s) * scale;
        }
    }
}

impl Attention<'_> {
    fn scale(&self) -> f32 {
        1.0 / (self.head_size as f32).sqrt()
    }

    /// Applies this head's dropout to `x` and writes the result to `y`.
    fn dropped(&self, text: usize, head: usize, x: &[f32], y: &mut [f32]) {
        self.dropout.copy_from((text * self.heads + head) * x.len(), x, y);
    }

    /// Computes `out = dropout(softmax((q kᵀ + distances) / sqrt(head size) + mask)) v` for every head: k, v [texts *
    /// sequence, heads * head size]; q, out [texts * queries, heads * head size].
    ///
    /// The `probabilities` [texts, heads, queries, sequence], before dropout, are kept for backward.
    pub fn forward(&self, q: &[f32], k: &[f32], v: &[f32], probabilities: &mut [f32], out: &mut [f32]) {
        let Attention { sequence: s, queries: m, heads, head_size: d, mask, distances, .. } = *self;
        let width = heads * d;
        let texts =
            out.par_chunks_mut(m * width).zip(probabilities.par_chunks_mut(heads * m * s)).enumerate();
        let scratch = || vec![0.0; m * s];
        texts.for_each_init(scratch, |scratch, (text, (out, probabilities))| {
            for (head, p) in probabilities.chunks_exact_mut(m * s).enumerate() {
                let at = text * s * width + head * d;
                let view = |x| Matrix::new(x, s, d, width);
                let q = Matrix::new(&q[text * m * width + head * d..], m, d, width);
                if let Some(distances) = distances {
                    scratch.copy_from_slice(&distances[head * s * s..][..m * s]);
                }
                multiply(scratch, s, q, view(&k[at..]).t(), distances.is_some(), 1);
                vectorized!(|| softmax(scratch, &mask[text * s..][..s], p, self.scale()));
                self.dropped(text, head, p, scratch);
                let p = Matrix::new(scratch, m, s, s);
                multiply(&mut out[head * d..], width, p, view(&v[at..]), false, 1);
            }
        });
    }

    /// Computes the gradients of q, k and v from `g`, the gradient of `out`, and the probabilities kept by
    /// forward.
    pub fn backward(
        &self,
        [q, k, v]: [&[f32]; 3],
        probabilities: &[f32],
        g: &[f32],
        [dq, dk, dv]: [&mut [f32]; 3],
    ) {
        let Attention { sequence: s, queries: m, heads, head_size: d, .. } = *self;
        let width = heads * d;
        let (rows, chunk) = (m * width, s * width);
        let gradients = dq.par_chunks_mut(rows).zip(dk.par_chunks_mut(chunk)).zip(dv.par_chunks_mut(chunk));
        let texts = gradients.zip(probabilities.par_chunks(heads * m * s)).enumerate();
        let scratch = || (vec![0.0; m * s], vec![0.0; m * s], vec![0.0; s]);
        texts.for_each_init(scratch, |(dropped, ds, products), (text, (((dq, dk), dv), p))| {
            for (head, p) in p.chunks_exact(m * s).enumerate() {
                let to = head * d;
                let [q, g] = [q, g].map(|x| Matrix::new(&x[text * rows + to..], m, d, width));
                let [k, v] = [k, v].map(|x| Matrix::new(&x[text * chunk + to..], s, d, width));
                self.dropped(text, head, p, dropped);
                multiply(&mut dv[to..], width, Matrix::new(dropped, m, s, s).t(), g, false, 1);
                multiply(dropped, s, g, v.t(), false, 1);
                self.dropped(text, head, dropped, ds);
                vectorized!(|| softmax_backward(p, ds, products, self.scale()));
                let ds = Matrix::new(ds, m, s, s);
                multiply(&mut dq[to..], width, ds, k, false, 1);
                multiply(&mut dk[to..], width, ds.t(), q, false, 1);
            }
        });
    }
}
