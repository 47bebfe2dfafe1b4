use super::gemm::{Matrix, multiply, threads};
use super::{values, vectorized, with_values};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

struct Linear;

/// `x wᵀ + b`: x [.., inputs], w [outputs, inputs], b [outputs].
pub fn linear(x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    x.apply_op3(w, b, Linear)
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
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
        let (outputs, inputs) = wl.shape().dims2()?;
        let rows = x.len() / inputs;
        let mut y = Vec::with_capacity(rows * outputs);
        (0..rows).for_each(|_| y.extend_from_slice(b));
        let (x, w) = (Matrix::new(x, rows, inputs, inputs), Matrix::new(w, outputs, inputs, inputs));
        multiply(&mut y, outputs, x, w.t(), true, threads());
        let mut dims = xl.dims().to_vec();
        *dims.last_mut().expect("x has a last dimension") = outputs;
        Ok((CpuStorage::F32(y), dims.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (outputs, inputs) = w.dims2()?;
        let (dx, dw, db) = with_values(x, |xs| {
            with_values(w, |ws| {
                with_values(grad, |gs| {
                    let rows = xs.len() / inputs;
                    let g = Matrix::new(gs, rows, outputs, outputs);
                    let mut dx = vec![0.0; rows * inputs];
                    multiply(&mut dx, inputs, g, Matrix::new(ws, outputs, inputs, inputs), false, threads());
                    let mut dw = vec![0.0; outputs * inputs];
                    multiply(&mut dw, inputs, g.t(), Matrix::new(xs, rows, inputs, inputs), false, threads());
                    (dx, dw, vectorized!(|| column_sums(gs, outputs)))
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

#[inline(always)]
fn column_sums(g: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    for row in g.chunks_exact(columns) {
        for (s, g) in sums.iter_mut().zip(row) {
            *s += g;
        }
    }
    sums
}
