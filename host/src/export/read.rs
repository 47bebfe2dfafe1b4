//! Converting a bundle back into a checkpoint, from which a smaller student can be cut when the original
//! checkpoint is not at hand.

use super::proto::{DataType, EXTERNAL, GraphProto, ModelProto, TensorProto};
use crate::bert::{
    self, Array, Checkpoint, Config, POOLER, POSITION_EMBEDDINGS, PROJECTION, StudentShape, TYPE_EMBEDDINGS,
    TokenizerFiles, WORD_EMBEDDINGS, tensor_file,
};
use goldcrest_edge::bundle::{self, Bundle, Manifest};
use half::f16;
use prost::Message;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why a bundle cannot be converted into a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each field is what its name says, and the message shows it")]
pub enum ReadError {
    #[error("cannot read {path}: {cause}")]
    Io { path: PathBuf, cause: std::io::Error },
    #[error("{path}: {cause}")]
    Bundle { path: PathBuf, cause: bundle::Error },
    #[error("{path} was not written by goldcrest: {problem}")]
    Foreign { path: PathBuf, problem: String },
    #[error(transparent)]
    Checkpoint(#[from] bert::Error),
}

/// Restores the checkpoint that a bundle was made from, as precisely as its integers allow.
///
/// # Errors
/// [`ReadError`], in particular for a bundle whose ONNX model was not written by Goldcrest.
pub fn checkpoint(path: &Path) -> Result<Checkpoint, ReadError> {
    let bytes = std::fs::read(path).map_err(|cause| ReadError::Io { path: path.into(), cause })?;
    let bundle = Bundle::read(&bytes).map_err(|cause| ReadError::Bundle { path: path.into(), cause })?;
    let foreign = |problem: String| ReadError::Foreign { path: path.into(), problem };
    let model = ModelProto::decode(bundle.model()).map_err(|error| foreign(error.to_string()))?;
    let graph = model.graph.ok_or_else(|| foreign("it has no graph".into()))?;
    let vocab = std::str::from_utf8(bundle.vocabulary()).map_err(|error| foreign(error.to_string()))?;
    let tensors = tensors(&graph, bundle.external()).map_err(foreign)?;
    let config = config(&graph, &tensors, vocab, bundle.manifest()).map_err(foreign)?;
    config.check()?;
    for (name, wanted) in Checkpoint::shapes(&config) {
        let found = tensors.get(&name).map(|array| &array.shape);
        if found != Some(&wanted) {
            return Err(foreign(format!("{name} is {found:?}, not {wanted:?}")));
        }
    }
    let settings = bundle.manifest().tokenizer;
    let tokenizer = TokenizerFiles {
        vocab: vocab.into(),
        lowercase: settings.lowercase,
        strip_accents: settings.strip_accents,
        chinese_chars: settings.chinese_chars,
        max_length: config.max_position_embeddings,
    };
    Ok(Checkpoint { config, tensors, tokenizer })
}

/// Returns the constants under the checkpoint's names: integers multiplied by their scales, matrices in the
/// orientation used for training.
fn tensors(graph: &GraphProto, external: &[u8]) -> Result<BTreeMap<String, Array>, String> {
    let by_name: BTreeMap<&str, &TensorProto> =
        graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut tensors = BTreeMap::new();
    // no two share their data: a small file could fill the memory
    let mut left = external.len();
    for (name, tensor) in &by_name {
        if !name.starts_with("bert.") && !name.starts_with("classifier.") || name.ends_with("_scale") {
            continue;
        }
        if tensor.dims.iter().any(|d| !(1..=i64::from(i32::MAX)).contains(d)) {
            return Err(format!("{name} has shape {:?}", tensor.dims));
        }
        let bytes = bytes(tensor, external)?;
        if tensor.data_location == Some(EXTERNAL) {
            left = left.checked_sub(bytes.len()).ok_or("constants share their data")?;
        }
        let shape: Vec<usize> = tensor.dims.iter().map(|d| *d as usize).collect();
        let scales = |name: &str| -> Result<Vec<f32>, String> {
            let scales =
                by_name.get(format!("{name}_scale").as_str()).ok_or(format!("{name} has no scales"))?;
            Ok(tensor_file::floats(self::bytes(scales, external)?))
        };
        let (name, array) = match name.rsplit_once('_') {
            Some((name, "int8")) => {
                let values = bytes.iter().map(|b| f32::from(*b as i8)).collect();
                let mut array = Array { shape, data: values };
                // tables are looked up by row; ONNX stores the other matrices transposed
                if !is_table(name) {
                    array = transposed(&array)?;
                }
                (name, scaled(array, &scales(name)?)?)
            }
            Some((name, "int4")) => {
                let [rows, half] = shape[..] else { return Err(format!("{name} is not a matrix")) };
                let mut data = Vec::with_capacity(rows * half * 2);
                for row in bytes.chunks_exact(half) {
                    data.extend(row.iter().map(|b| f32::from(b & 15) - 8.0));
                    data.extend(row.iter().map(|b| f32::from(b >> 4) - 8.0));
                }
                (name, scaled(Array { shape: vec![rows, 2 * half], data }, &scales(name)?)?)
            }
            Some((name, "half")) => {
                let data = bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect();
                (name, transposed(&Array { shape, data })?)
            }
            Some((name, "transposed")) => {
                (name, transposed(&Array { shape, data: tensor_file::floats(bytes) })?)
            }
            _ => (*name, Array { shape, data: tensor_file::floats(bytes) }),
        };
        if array.shape.iter().product::<usize>() != array.data.len() {
            return Err(format!("{name} has another type than its name says"));
        }
        tensors.insert(name.to_string(), array);
    }
    Ok(tensors)
}

fn is_table(name: &str) -> bool {
    name.starts_with("bert.embeddings.") && name != PROJECTION
}

fn bytes<'a>(tensor: &'a TensorProto, external: &'a [u8]) -> Result<&'a [u8], String> {
    let size: usize = match tensor.data_type {
        Some(t) if t == DataType::Float as i32 => 4,
        Some(t) if t == DataType::Float16 as i32 => 2,
        _ => 1,
    };
    let wanted = tensor.dims.iter().try_fold(size, |n, d| n.checked_mul(usize::try_from(*d).ok()?));
    let wanted = wanted.ok_or_else(|| format!("{} has shape {:?}", tensor.name, tensor.dims))?;
    let bytes = if tensor.data_location == Some(EXTERNAL) {
        let entry = |key: &str| {
            tensor.external_data.iter().find(|e| e.key == key).and_then(|e| e.value.parse::<usize>().ok())
        };
        let (from, length) = (entry("offset").unwrap_or(0), entry("length").unwrap_or(0));
        from.checked_add(length).and_then(|to| external.get(from..to))
    } else {
        tensor.raw_data.as_deref()
    };
    bytes.filter(|b| b.len() == wanted).ok_or_else(|| format!("{} does not have {wanted} bytes", tensor.name))
}

fn scaled(mut array: Array, scales: &[f32]) -> Result<Array, String> {
    let [rows, columns] = array.shape[..] else { return Err("integers that are not a matrix".into()) };
    if scales.len() != rows {
        return Err(format!("{} scales for {rows} rows", scales.len()));
    }
    let rows = array.data.chunks_exact_mut(columns).zip(scales);
    rows.for_each(|(row, scale)| row.iter_mut().for_each(|x| *x *= scale));
    Ok(array)
}

fn transposed(array: &Array) -> Result<Array, String> {
    let [rows, columns] = array.shape[..] else { return Err("weights that are not a matrix".into()) };
    if rows * columns != array.data.len() {
        return Err("weights of another type than their name says".into());
    }
    let data = (0..rows * columns).map(|i| array.data[i % rows * columns + i / rows]).collect();
    Ok(Array { shape: vec![columns, rows], data })
}

/// Derives the configuration: sizes from the tensors, the number of heads from the graph.
fn config(
    graph: &GraphProto,
    tensors: &BTreeMap<String, Array>,
    vocab: &str,
    manifest: &Manifest,
) -> Result<Config, String> {
    let size = |name: &str, dimension: usize| {
        let array = tensors.get(name).ok_or_else(|| format!("{name} is missing"))?;
        array.shape.get(dimension).copied().ok_or_else(|| format!("{name} is not a matrix"))
    };
    let hidden = size(POOLER, 1)?;
    let (mut heads, mut intermediate, mut head_size) = (Vec::new(), Vec::new(), 1);
    while let Ok(width) = size(&format!("bert.encoder.layer.{}.intermediate.dense.weight", heads.len()), 0) {
        intermediate.push(width);
        let split = format!("bert.encoder.layer.{}.attention.self.query.Reshape", heads.len());
        let shape = graph.node.iter().find(|n| n.name == split).and_then(|n| n.input.get(1));
        let sizes = shape.and_then(|shape| shape.strip_prefix("heads_")?.split_once('x'));
        let sizes = sizes.and_then(|(heads, size)| Some((heads.parse().ok()?, size.parse().ok()?)));
        let (count, size) = sizes.ok_or_else(|| format!("{split} does not split into heads"))?;
        (head_size, _) = (size, heads.push(count));
    }
    let epsilon = graph.node.iter().find(|n| n.op_type == "LayerNormalization");
    let epsilon = epsilon.and_then(|n| n.attribute.iter().find(|a| a.name == "epsilon")).and_then(|a| a.f);
    let rank = size(WORD_EMBEDDINGS, 1)?;
    let mut config: Config = serde_json::from_value(serde_json::json!({
        "model_type": "bert",
        "vocab_size": size(WORD_EMBEDDINGS, 0)?,
        "pad_token_id": vocab.lines().position(|piece| piece == "[PAD]").unwrap_or(0),
        "hidden_size": hidden,
        "num_hidden_layers": heads.len(),
        "num_attention_heads": hidden / std::cmp::max(head_size, 1),
        "intermediate_size": intermediate.iter().max().ok_or("it has no layers")?,
        "max_position_embeddings": size(POSITION_EMBEDDINGS, 0)?,
        "type_vocab_size": size(TYPE_EMBEDDINGS, 0)?,
        "layer_norm_eps": epsilon.map_or(1e-12, f64::from),
    }))
    .map_err(|error| error.to_string())?;
    let embedding_rank = tensors.contains_key(PROJECTION).then_some(rank);
    let pooler = Some(size(POOLER, 0)?).filter(|width| *width < hidden);
    config.goldcrest = Some(StudentShape { head_size, heads, intermediate, embedding_rank, pooler });
    config.set_labels(&manifest.labels, manifest.task);
    config.input = Some(super::manifest::input_format(manifest));
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::proto::StringStringEntry;

    #[test]
    fn types_that_names_deny_are_refused() {
        for (name, data_type, bytes) in [
            ("bert.pooler.dense.weight_half", DataType::Uint8, 4),
            ("bert.pooler.dense.weight_transposed", DataType::Int8, 4),
            ("bert.pooler.dense.bias", DataType::Float16, 8),
        ] {
            let tensor = TensorProto {
                dims: vec![2, 2],
                data_type: Some(data_type as i32),
                name: name.into(),
                raw_data: Some(vec![0; bytes]),
                ..Default::default()
            };
            let graph = GraphProto { initializer: vec![tensor], ..Default::default() };
            assert!(tensors(&graph, &[]).unwrap_err().contains("type"), "{name}");
        }
    }

    #[test]
    fn constants_that_share_their_data_are_refused() {
        let place = |key: &str, value: &str| StringStringEntry { key: key.into(), value: value.into() };
        let tensor = |name: &str| TensorProto {
            dims: vec![2],
            data_type: Some(DataType::Float as i32),
            name: name.into(),
            data_location: Some(EXTERNAL),
            external_data: vec![place("offset", "0"), place("length", "8")],
            ..Default::default()
        };
        let two = vec![tensor("bert.pooler.dense.bias"), tensor("classifier.bias")];
        let graph = GraphProto { initializer: two, ..Default::default() };
        assert_eq!(tensors(&graph, &[0; 8]).unwrap_err(), "constants share their data");
        assert_eq!(tensors(&graph, &[0; 16]).unwrap().len(), 2);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for dims in [vec![3, 0], vec![-1, 2], vec![i64::MAX, 4], vec![1 << 30, 1 << 30, 1 << 30]] {
            let tensor = TensorProto {
                dims: dims.clone(),
                data_type: Some(DataType::Uint8 as i32),
                name: "bert.a.weight_int4".into(),
                raw_data: Some(Vec::new()),
                ..Default::default()
            };
            let graph = GraphProto { initializer: vec![tensor], ..Default::default() };
            let error = tensors(&graph, &[]).unwrap_err();
            assert!(error.contains("bert.a.weight_int4"), "{dims:?}: {error}");
        }
    }
}
