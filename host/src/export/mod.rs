//! ONNX export and bundles. ONNX models use standard operators only (opset 17, IR version 8).
//!
//! Inputs are `input_ids`, `attention_mask` and `token_type_ids` (int64 [batch, sequence]), the output is
//! `logits` (f32 [batch, labels]): what ONNX Runtime and Optimum expect of a text classifier.

mod bert;
mod builder;
mod manifest;
mod pack;
mod proto;
mod read;

pub use manifest::manifest;
pub(crate) use pack::with_manifest;
pub use pack::{PackError, golden_messages, pack};
pub use read::{ReadError, checkpoint};

use prost::Message;

use crate::bert::{Checkpoint, Error};
use crate::quantize::{Quantized, complete};
use bert::Matrices;
use proto::{EXTERNAL, ModelProto, OperatorSetId, StringStringEntry};

/// An ONNX model.
pub struct Onnx(ModelProto);

/// Exports a checkpoint in f32.
///
/// # Errors
/// If a tensor is missing, has another shape than the configuration says, or holds NaN or infinity.
pub fn fp32(checkpoint: &Checkpoint) -> Result<Onnx, Error> {
    Ok(model(bert::graph(&checkpoint.config, complete(checkpoint)?, Matrices::Float)))
}

/// Exports the int8 model that devices run.
pub fn int8(quantized: &Quantized) -> Onnx {
    integers(quantized, Matrices::Int8(&quantized.matrices))
}

/// Exports the int8 model for other runtimes, with weights as uint8 with zero point 128. On x86-64 without
/// VNNI, ONNX Runtime accumulates products of uint8 and int8 in 16 bits and saturates (see "Quantize ONNX
/// models", U8S8 and U8U8, in its documentation); products of two uint8 are exact everywhere.
pub fn int8_unsigned(quantized: &Quantized) -> Onnx {
    integers(quantized, Matrices::Uint8(&quantized.matrices))
}

fn integers(quantized: &Quantized, matrices: Matrices) -> Onnx {
    let tensors = quantized.tensors.iter().map(|(name, array)| (name.clone(), array)).collect();
    model(bert::graph(&quantized.config, tensors, matrices))
}

fn model(graph: proto::GraphProto) -> Onnx {
    Onnx(ModelProto {
        ir_version: Some(8),
        producer_name: "goldcrest".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![OperatorSetId { domain: Some(String::new()), version: Some(17) }],
    })
}

impl Onnx {
    /// In a bundle, constants of at least this many bytes are stored outside the protobuf.
    const EXTERNAL_FROM: usize = 1024;
    /// Alignment of external constants, so that a mapped bundle can be read in place.
    const ALIGNMENT: usize = 64;

    /// Returns the whole model as one `.onnx` file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }

    /// Splits the model into the graph and its large constants, which become ONNX external data under
    /// [`goldcrest_edge::model::EXTERNAL_LOCATION`].
    pub fn split(mut self) -> (Vec<u8>, Vec<u8>) {
        let mut data: Vec<u8> = Vec::new();
        for tensor in self.0.graph.iter_mut().flat_map(|g| &mut g.initializer) {
            let Some(bytes) = tensor.raw_data.take_if(|b| b.len() >= Self::EXTERNAL_FROM) else { continue };
            data.resize(data.len().next_multiple_of(Self::ALIGNMENT), 0);
            let entry = |key: &str, value: String| StringStringEntry { key: key.into(), value };
            tensor.data_location = Some(EXTERNAL);
            tensor.external_data = vec![
                entry("location", goldcrest_edge::model::EXTERNAL_LOCATION.into()),
                entry("offset", data.len().to_string()),
                entry("length", bytes.len().to_string()),
            ];
            data.extend(bytes);
        }
        (self.to_bytes(), data)
    }
}
