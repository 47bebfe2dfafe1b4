use super::{PARALLEL_FROM, sum, values, vectorized, with_values};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

struct LayerNorm {
    eps: f32,
}

/// LayerNorm over the last dimension: x [.., h], weight [h], bias [h].
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    x.apply_op3(weight, bias, LayerNorm { eps: eps as f32 })
}

/// Rows that one task takes: fixed, so that sums over tasks do not depend on the number of threads.
const ROWS: usize = 256;

#[inline(always)]
fn mean_and_inverse_deviation(x: &[f32], scratch: &mut [f32], eps: f32) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = sum(x) / n;
    for (s, x) in scratch.iter_mut().zip(x) {
        *s = (x - mean) * (x - mean);
    }
    (mean, 1.0 / (sum(scratch) / n + eps).sqrt())
}

#[inline(always)]
fn forward(x: &[f32], w: &[f32], b: &[f32], y: &mut [f32], eps: f32) {
    let n = w.len();
    for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
        let (mean, inverse) = mean_and_inverse_deviation(x, y, eps);
        for i in 0..n {
            y[i] = (x[i] - mean) * inverse * w[i] + b[i];
        }
    }
}

#[inline(always)]
fn backward(x: &[f32], w: &[f32], g: &[f32], dx: &mut [f32], eps: f32) -> (Vec<f32>, Vec<f32>) {
    let n = w.len();
    let (mut dw, mut db) = (vec![0.0; n], vec![0.0; n]);
    let (mut gw, mut gwx) = (vec![0.0; n], vec![0.0; n]);
    for ((x, g), dx) in x.chunks_exact(n).zip(g.chunks_exact(n)).zip(dx.chunks_exact_mut(n)) {
        let (mean, inverse) = mean_and_inverse_deviation(x, &mut gw, eps);
        for i in 0..n {
            let normal = (x[i] - mean) * inverse;
            dw[i] += g[i] * normal;
            db[i] += g[i];
            gw[i] = g[i] * w[i];
            gwx[i] = gw[i] * normal;
        }
        let (m1, m2) = (sum(&gw) / n as f32, sum(&gwx) / n as f32);
        for i in 0..n {
            let normal = (x[i] - mean) * inverse;
            dx[i] = inverse * (gw[i] - m1 - normal * m2);
        }
    }
    (dw, db)
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        xl: &Layout,
        ws: &CpuStorage,
        wl: &Layout,
        bs: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w, b) = (values(xs, xl)?, values(ws, wl)?, values(bs, bl)?);
        let mut y = vec![0.0; x.len()];
        let chunk = ROWS * w.len();
        if x.len() < PARALLEL_FROM {
            vectorized!(|| forward(x, w, b, &mut y, self.eps));
        } else {
            x.par_chunks(chunk)
                .zip(y.par_chunks_mut(chunk))
                .for_each(|(x, y)| vectorized!(|| forward(x, w, b, y, self.eps)));
        }
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw, db) = with_values(x, |xs| {
            with_values(w, |ws| {
                with_values(grad, |gs| {
                    let chunk = ROWS * ws.len();
                    let mut dx = vec![0.0; xs.len()];
                    let parts: Vec<(Vec<f32>, Vec<f32>)> = xs
                        .par_chunks(chunk)
                        .zip(gs.par_chunks(chunk))
                        .zip(dx.par_chunks_mut(chunk))
                        .map(|((x, g), dx)| vectorized!(|| backward(x, ws, g, dx, self.eps)))
                        .collect();
                    let (mut dw, mut db) = (vec![0.0; ws.len()], vec![0.0; ws.len()]);
                    for (part_w, part_b) in parts {
                        dw.iter_mut().zip(part_w).for_each(|(a, b)| *a += b);
                        db.iter_mut().zip(part_b).for_each(|(a, b)| *a += b);
                    }
                    (dx, dw, db)
                })
            })
        })???;
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), device)?),
            Some(Tensor::from_vec(dw, w.shape(), device)?),
            Some(Tensor::from_vec(db, b.shape(), device)?),
        ))
    }
}
