//! Cutting a student out of a larger model: fewer layers, heads and feed-forward columns, and embeddings of
//! lower rank.

use super::{Importance, Layers};
use crate::bert::{
    Array, CLASSIFIER, Checkpoint, Error, LayerShape, POOLER, POOLER_BIAS, PROJECTION, StudentShape,
    WORD_EMBEDDINGS,
};
use crate::data::SplitMix;

/// Builds a student from some of the model's layers and its embeddings, pooler and head.
///
/// # Errors
/// [`Error::Layers`] if the model lacks one of them, or there is none; [`Error::OnlyTeaches`].
pub fn cut_layers(model: &Checkpoint, layers: &[usize]) -> Result<Checkpoint, Error> {
    if model.config.only_teaches() {
        return Err(Error::OnlyTeaches);
    }
    let all = model.config.num_hidden_layers;
    if layers.is_empty() || layers.iter().any(|layer| *layer >= all) {
        return Err(Error::Layers { asked: Layers::These(layers.to_vec()).to_string(), all });
    }
    let mut student = model.clone();
    student.config.num_hidden_layers = layers.len();
    if let Some(shape) = &mut student.config.goldcrest {
        let of = |values: &[usize]| layers.iter().map(|l| values[*l]).collect();
        (shape.heads, shape.intermediate) = (of(&shape.heads), of(&shape.intermediate));
    }
    student.tensors.retain(|name, _| !name.starts_with("bert.encoder."));
    for (to, from) in layers.iter().enumerate() {
        let prefix = format!("bert.encoder.layer.{from}.");
        for (name, array) in &model.tensors {
            if let Some(rest) = name.strip_prefix(&prefix) {
                student.tensors.insert(format!("bert.encoder.layer.{to}.{rest}"), array.clone());
            }
        }
    }
    Ok(student)
}

/// Keeps at most the given numbers of heads and feed-forward columns in every layer, and of pooler columns:
/// the most important ones.
pub fn cut_widths(
    model: &Checkpoint,
    importance: &Importance,
    heads: Option<usize>,
    intermediate: Option<usize>,
    pooler: Option<usize>,
) -> Checkpoint {
    let mut student = model.clone();
    let shapes = model.config.layers();
    let mut shape = shape_of(model, &shapes);
    for (i, (layer, of)) in shapes.iter().zip(&importance.layers).enumerate() {
        let name = |part: &str| format!("bert.encoder.layer.{i}.{part}");
        let mut edit = |part: &str, f: &dyn Fn(&Array) -> Array| {
            let array =
                student.tensors.get_mut(&name(part)).expect("a checkpoint has all tensors of its layers");
            *array = f(array);
        };
        let kept = most_important(&of.heads, heads.unwrap_or(layer.heads));
        if kept.len() < layer.heads {
            let size = layer.head_size;
            let units: Vec<usize> = kept.iter().flat_map(|h| h * size..(h + 1) * size).collect();
            for part in ["query", "key", "value"] {
                edit(&format!("attention.self.{part}.weight"), &|w| rows(w, &units));
                edit(&format!("attention.self.{part}.bias"), &|b| columns(b, &units));
            }
            edit("attention.output.dense.weight", &|w| columns(w, &units));
            shape.heads[i] = kept.len();
        }
        let kept = most_important(&of.intermediate, intermediate.unwrap_or(layer.intermediate));
        if kept.len() < layer.intermediate {
            edit("intermediate.dense.weight", &|w| rows(w, &kept));
            edit("intermediate.dense.bias", &|b| columns(b, &kept));
            edit("output.dense.weight", &|w| columns(w, &kept));
            shape.intermediate[i] = kept.len();
        }
    }
    let kept = most_important(&importance.pooler, pooler.unwrap_or(model.config.pooler_size()));
    if kept.len() < model.config.pooler_size() {
        let mut edit = |name: &str, f: &dyn Fn(&Array) -> Array| {
            if let Some(array) = student.tensors.get_mut(name) {
                *array = f(array);
            }
        };
        edit(POOLER, &|w| rows(w, &kept));
        edit(POOLER_BIAS, &|b| columns(b, &kept));
        edit(CLASSIFIER, &|w| columns(w, &kept));
        shape.pooler = Some(kept.len());
    }
    student.config.goldcrest = Some(shape);
    student
}

/// Returns the native shape of a model, whether or not `config.json` states it.
fn shape_of(model: &Checkpoint, layers: &[LayerShape]) -> StudentShape {
    model.config.goldcrest.clone().unwrap_or(StudentShape {
        head_size: model.config.hidden_size / model.config.num_attention_heads,
        heads: layers.iter().map(|l| l.heads).collect(),
        intermediate: layers.iter().map(|l| l.intermediate).collect(),
        embedding_rank: None,
        pooler: None,
    })
}

/// Returns the indices of the `n` largest values, ascending.
fn most_important(values: &[f64], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]).then(a.cmp(b)));
    order.truncate(n);
    order.sort_unstable();
    order
}

fn rows(w: &Array, kept: &[usize]) -> Array {
    let (_, width) = w.dims2();
    let data = kept.iter().flat_map(|r| &w.data[r * width..][..width]).copied().collect();
    Array { shape: vec![kept.len(), width], data }
}

fn columns(w: &Array, kept: &[usize]) -> Array {
    let (_, width) = w.dims2();
    let data = w.data.chunks_exact(width).flat_map(|row| kept.iter().map(|c| row[*c])).collect();
    let shape = if w.shape.len() == 1 { vec![kept.len()] } else { vec![w.shape[0], kept.len()] };
    Array { shape, data }
}

/// Factorises the word embeddings to a lower rank, by the best approximation with each row weighted by the
/// count of its word piece (truncated singular value decomposition). `counts` are by piece id. Embeddings
/// that are already factorised are multiplied out first: after training, their projection no longer preserves
/// lengths.
pub fn factorise_embeddings(model: &Checkpoint, rank: usize, counts: &[f64]) -> Checkpoint {
    if rank >= model.tensors[WORD_EMBEDDINGS].dims2().1 {
        return model.clone();
    }
    let table = model.word_embeddings();
    let (_, width) = table.dims2();
    // the right singular vectors of the weighted table are the eigenvectors of its Gram matrix
    let mut gram = nalgebra::DMatrix::<f64>::zeros(width, width);
    for (row, count) in table.data.chunks_exact(width).zip(counts) {
        // at least 1, so that rare pieces count too, and capped for frequent ones
        let weight = count.clamp(1.0, 900.0);
        for (i, a) in row.iter().enumerate() {
            let a = f64::from(*a) * weight;
            for (j, b) in row.iter().enumerate().take(i + 1) {
                gram[(i, j)] += a * f64::from(*b);
            }
        }
    }
    for i in 0..width {
        for j in i + 1..width {
            gram[(i, j)] = gram[(j, i)];
        }
    }
    let eigen = gram.symmetric_eigen();
    let kept = {
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
        order.truncate(rank);
        order
    };
    // rotated at random, so that no column is much larger than the others: rows then lose less when rounded
    // to few bits
    let basis = random_rotation(rank) * eigen.eigenvectors.select_columns(&kept).transpose();
    let basis: Vec<Vec<f32>> = basis.row_iter().map(|row| row.iter().map(|x| *x as f32).collect()).collect();
    let dot = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
    };
    let narrow =
        table.data.chunks_exact(width).flat_map(|row| basis.iter().map(move |b| dot(row, b))).collect();

    let mut student = model.clone();
    let rows = table.shape[0];
    student.tensors.insert(WORD_EMBEDDINGS.into(), Array { shape: vec![rows, rank], data: narrow });
    // hidden = projection [hidden, rank] · row
    let projection = (0..width).flat_map(|i| basis.iter().map(move |b| b[i])).collect();
    let projection = Array { shape: vec![width, rank], data: projection };
    student.tensors.insert(PROJECTION.into(), projection);
    let mut shape = shape_of(model, &model.config.layers());
    shape.embedding_rank = Some(rank);
    student.config.goldcrest = Some(shape);
    student
}

/// Returns a random, but always the same, orthogonal matrix.
fn random_rotation(size: usize) -> nalgebra::DMatrix<f64> {
    let mut random = SplitMix::new(0, 2);
    // sums of a few uniform numbers are close enough to normal ones
    let mut normal = || (0..6).map(|_| random.below(1 << 20) as f64 / f64::from(1 << 20) - 0.5).sum::<f64>();
    nalgebra::DMatrix::from_fn(size, size, |_, _| normal()).qr().q()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_important_keeps_the_order() {
        assert_eq!(most_important(&[0.1, 3.0, 2.0, 3.0], 2), [1, 3]);
        assert_eq!(most_important(&[1.0, 1.0], 5), [0, 1]);
    }
}
