use super::{values, with_values};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use std::sync::Arc;

struct Embedding {
    ids: Arc<[u32]>,
}

/// Rows `ids` of a table [rows, width]: [ids, width].
pub fn embedding(table: &Tensor, ids: Arc<[u32]>) -> Result<Tensor> {
    table.apply_op1(Embedding { ids })
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let table = values(storage, layout)?;
        let mut y = Vec::with_capacity(self.ids.len() * width);
        for &id in self.ids.iter() {
            if id as usize >= rows {
                candle_core::bail!("id {id} is not in a table of {rows} rows");
            }
            y.extend_from_slice(&table[id as usize * width..][..width]);
        }
        Ok((CpuStorage::F32(y), (self.ids.len(), width).into()))
    }

    fn bwd(&self, table: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = table.dims2()?;
        let mut dt = vec![0.0; rows * width];
        with_values(grad, |g| {
            for (&id, g) in self.ids.iter().zip(g.chunks_exact(width)) {
                let row = &mut dt[id as usize * width..][..width];
                row.iter_mut().zip(g).for_each(|(t, g)| *t += g);
            }
        })?;
        Ok(Some(Tensor::from_vec(dt, table.shape(), table.device())?))
    }
}
