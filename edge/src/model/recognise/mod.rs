//! Finds a BERT classifier in an ONNX graph. It goes from the logits back to the inputs, by operators and
//! constants; names do not matter, except those of the inputs. The graph looked for is the int8 graph that
//! goldcrest packs into bundles; `goldcrest export --int8` writes the same with uint8
//! weights, for other runtimes.
//!
//! This happens on the protobuf, before tract's costly translation. A graph that differs anywhere runs on
//! stock operators instead.

mod embeddings;

use tract_onnx::pb::tensor_proto::DataType;

use crate::kernels::{AttentionScratch, Linear};

use super::graph::{Found, Graph, attribute, expect, inputs};
use super::stock::Feed;
pub(super) use embeddings::EmbeddingParts;

/// A linear layer: weights [inputs, outputs] in place, the rest copied.
pub(super) struct LinearParts<'a> {
    pub weights: &'a [u8],
    pub inputs: usize,
    pub outputs: usize,
    /// Scales of int8 weights; `None` if the weights are f16, little-endian.
    pub scales: Option<Vec<f32>>,
    pub bias: Vec<f32>,
}

/// Gamma, beta and epsilon of a LayerNorm.
pub(super) struct NormParts {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    pub epsilon: f32,
}

/// Number and size of attention heads.
#[derive(Clone, Copy, PartialEq)]
struct Heads {
    count: usize,
    size: usize,
}

/// One encoder layer.
pub(super) struct LayerParts<'a> {
    pub query: LinearParts<'a>,
    pub key: LinearParts<'a>,
    pub value: LinearParts<'a>,
    pub heads: usize,
    pub head_size: usize,
    /// Factor of the attention scores.
    pub scale: f32,
    pub attention_output: LinearParts<'a>,
    pub attention_norm: NormParts,
    pub intermediate: LinearParts<'a>,
    pub output: LinearParts<'a>,
    pub output_norm: NormParts,
}

/// A whole classifier.
pub(super) struct Parts<'a> {
    pub hidden: usize,
    pub embeddings: EmbeddingParts<'a>,
    pub layers: Vec<LayerParts<'a>>,
    pub pooler: LinearParts<'a>,
    pub classifier: LinearParts<'a>,
}

/// More layers than any BERT has. Bounds the search if a malformed graph has a cycle.
const MAX_LAYERS: usize = 256;
/// Wider than any BERT. Bounds the scratch buffers.
const MAX_WIDTH: usize = 8192;

/// Returns the parts of the classifier that `graph` computes, or where it differs from one.
pub(super) fn recognise<'a>(graph: &'a Graph<'a>) -> Found<Parts<'a>> {
    let (classifier, pooled) = graph.linear(graph.output()?)?;
    let (pooler, first) = graph.linear(graph.unary(pooled, "Tanh")?)?;
    let mut x = graph.first_token(first)?;
    let hidden = pooler.inputs;
    expect(hidden <= MAX_WIDTH, || format!("hidden states of {hidden}"))?;
    expect(pooler.outputs <= hidden, || "the pooler is wider than the hidden states".into())?;
    let classifier = classifier.sized_inputs(pooler.outputs)?;
    let mut layers = vec![];
    while layers.len() <= MAX_LAYERS {
        match graph.embeddings(x, hidden)? {
            Some(embeddings) => {
                expect(!layers.is_empty(), || "no encoder layer".into())?;
                layers.reverse();
                return Ok(Parts { hidden, embeddings, layers, pooler, classifier });
            }
            None => {
                let (layer, input) = graph.layer(x, hidden)?;
                layers.push(layer);
                x = input;
            }
        }
    }
    Err(format!("more than {MAX_LAYERS} layers, or the graph has a cycle"))
}

impl<'a> Graph<'a> {
    /// Returns the layer that makes `x`, and its input.
    fn layer(&self, x: &str, hidden: usize) -> Found<(LayerParts<'a>, &'a str)> {
        let (output_norm, sum) = self.layer_norm(x, hidden)?;
        let [y, attended] = self.inputs(sum, "Add")?;
        let (output, activated) = self.linear(y)?;
        let (intermediate, from) = self.linear(self.gelu(activated)?)?;
        expect(from == attended, || format!("`{sum}` adds another value than the layer's input"))?;

        let (attention_norm, sum) = self.layer_norm(attended, hidden)?;
        let [y, input] = self.inputs(sum, "Add")?;
        let (attention_output, context) = self.linear(y)?;
        let context = self.inputs::<2>(context, "Reshape")?;
        let [weights, value] = self.inputs(self.transpose(context[0], &[0, 2, 1, 3])?, "MatMul")?;
        let softmax = self.maker(weights, "Softmax")?;
        let last = attribute(softmax, "axis").is_none_or(|a| a.i == -1);
        expect(last, || format!("Softmax `{weights}` is not over the last axis"))?;
        let [scores, mask] = inputs(softmax).and_then(|[s]| self.inputs(s, "Add"))?;
        self.mask(mask)?;
        let [query, key] = self.inputs(scores, "MatMul")?;
        let (query, heads) = self.heads(query, &[0, 2, 1, 3])?;
        let [query, scale] = self.inputs(query, "Mul")?;
        let (key, key_heads) = self.heads(key, &[0, 2, 3, 1])?;
        let (value, value_heads) = self.heads(value, &[0, 2, 1, 3])?;
        let width = heads.count * heads.size;
        expect(width <= MAX_WIDTH, || format!("heads of {width} together"))?;
        let same = key_heads == heads && value_heads == heads;
        let joined = self.integers(context[1])? == [0, 0, width as i64];
        expect(same && joined, || format!("`{scores}` mixes heads of different sizes"))?;
        let project = |x: &str| -> Found<LinearParts<'a>> {
            let (linear, from) = self.linear(x)?;
            expect(from == input, || format!("`{x}` does not read the layer's input"))?;
            linear.sized(hidden, width)
        };
        let (key_parts, value_parts) = (project(key)?, project(value)?);
        // keys and values are computed together
        let alike = key_parts.scales.is_some() == value_parts.scales.is_some();
        expect(alike, || format!("`{key}` and `{value}` are not of one precision"))?;
        let layer = LayerParts {
            query: project(query)?,
            key: key_parts,
            value: value_parts,
            heads: heads.count,
            head_size: heads.size,
            scale: self.scalar(scale)?,
            attention_output: attention_output.sized(width, hidden)?,
            attention_norm,
            output: output.sized(intermediate.outputs, hidden)?,
            intermediate: intermediate.sized_inputs(hidden)?,
            output_norm,
        };
        Ok((layer, input))
    }

    /// Matches a value that is split into heads, and returns the value before the split.
    fn heads(&self, value: &str, order: &[i64]) -> Found<(&'a str, Heads)> {
        let [x, shape] = self.inputs(self.transpose(value, order)?, "Reshape")?;
        let heads = match self.integers(shape)?[..] {
            [0, 0, count @ 1..=4096, size @ 1..=4096] => Heads { count: count as usize, size: size as usize },
            _ => return Err(format!("`{value}` is not split into heads")),
        };
        let most = AttentionScratch::MAX_HEAD_SIZE;
        expect(heads.size <= most, || format!("heads of {}, the kernels take up to {most}", heads.size))?;
        Ok((x, heads))
    }

    /// Matches `(1 - mask) * far`, which is zero without padding.
    fn mask(&self, value: &str) -> Found<()> {
        let [absent, far] = self.inputs(value, "Mul")?;
        self.scalar(far)?;
        let [one, mask] = self.inputs(absent, "Sub")?;
        expect(self.scalar(one) == Ok(1.0), || format!("`{absent}` is not an inverted mask"))?;
        let [mask, _axes] = self.inputs(self.cast(mask, DataType::Float)?, "Unsqueeze")?;
        self.is_input(mask, Feed::Mask)
    }

    /// Matches `x[:, 0]` and returns `x`.
    fn first_token(&self, value: &str) -> Found<&'a str> {
        let node = self.maker(value, "Gather")?;
        let [x, index] = inputs(node)?;
        let first = attribute(node, "axis").is_some_and(|a| a.i == 1) && self.integers(index)? == [0];
        expect(first, || format!("`{value}` does not take the first token"))?;
        Ok(x)
    }

    fn layer_norm(&self, value: &str, width: usize) -> Found<(NormParts, &'a str)> {
        let node = self.maker(value, "LayerNormalization")?;
        let [x, gamma, beta] = inputs(node)?;
        let last = attribute(node, "axis").is_none_or(|a| a.i == -1);
        expect(last, || format!("LayerNormalization `{value}` is not over the last axis"))?;
        let epsilon = attribute(node, "epsilon").map_or(1e-5, |a| a.f);
        let valid = epsilon.is_finite() && epsilon >= 0.0;
        expect(valid, || format!("LayerNormalization `{value}` has epsilon {epsilon}"))?;
        Ok((NormParts { gamma: self.floats(gamma, width)?, beta: self.floats(beta, width)?, epsilon }, x))
    }

    /// Matches `x * (1 + erf(x / √2)) * 0.5` and returns `x`.
    fn gelu(&self, value: &str) -> Found<&'a str> {
        let [x, y] = self.inputs(self.with_scalar(value, "Mul", 0.5)?, "Mul")?;
        let erf = self.with_scalar(y, "Add", 1.0)?;
        let inner = self.with_scalar(self.unary(erf, "Erf")?, "Mul", std::f32::consts::FRAC_1_SQRT_2)?;
        expect(inner == x, || format!("`{value}` is not a GELU"))?;
        Ok(x)
    }

    /// Returns the linear layer that makes `value` (int8 or f16, with or without bias), and its
    /// input before quantization.
    fn linear(&self, value: &str) -> Found<(LinearParts<'a>, &'a str)> {
        let (product, bias) = match self.inputs::<2>(value, "Add") {
            Ok([product, bias]) => (product, Some(bias)),
            Err(_) => (value, None),
        };
        let bias = |outputs| bias.map_or(Ok(vec![]), |b| self.floats(b, outputs));
        if let Ok([x, weights]) = self.inputs(product, "MatMul") {
            let weights = self.cast(weights, DataType::Float)?;
            let (inputs, outputs) = self.layer_shape(weights)?;
            let weights = self.bytes(weights, DataType::Float16)?;
            return Ok((LinearParts { weights, inputs, outputs, scales: None, bias: bias(outputs)? }, x));
        }
        let [scaled, scales] = self.inputs(product, "Mul")?;
        let [sum, x_scale] = self.inputs(scaled, "Mul")?;
        let [q, weights, zero] = self.inputs(self.cast(sum, DataType::Float)?, "MatMulInteger")?;
        expect(self.bytes(zero, DataType::Uint8)? == [128], || format!("`{zero}` is not 128"))?;
        let x = self.quantized(q, x_scale)?;
        let (inputs, outputs) = self.layer_shape(weights)?;
        let linear = LinearParts {
            weights: self.bytes(weights, DataType::Int8)?,
            inputs,
            outputs,
            scales: Some(self.floats(scales, outputs)?),
            bias: bias(outputs)?,
        };
        Ok((linear, x))
    }

    /// Returns the numbers of inputs and outputs of a linear layer that the kernels can take.
    fn layer_shape(&self, weights: &str) -> Found<(usize, usize)> {
        let (inputs, outputs) = self.matrix(weights)?;
        let most = Linear::MAX_INPUTS;
        expect(inputs <= most && outputs <= most, || format!("`{weights}` is {inputs} by {outputs}"))?;
        Ok((inputs, outputs))
    }

    /// Returns the value that was quantized, row by row, into `q` with `scale`.
    fn quantized(&self, q: &str, scale: &str) -> Found<&'a str> {
        let shifted = self.cast(q, DataType::Uint8)?;
        let [rounded, low, high] = self.inputs(self.with_scalar(shifted, "Add", 128.0)?, "Clip")?;
        let [x, inverse] = self.inputs(self.unary(rounded, "Round")?, "Mul")?;
        let [full, absmax] = self.inputs(inverse, "Div")?;
        let [same, divisor] = self.inputs(scale, "Div")?;
        let constants = [(low, -127.0), (high, 127.0), (full, 127.0), (divisor, 127.0)];
        let right = constants.iter().all(|&(name, c)| self.scalar(name) == Ok(c)) && same == absmax;
        expect(right, || format!("`{q}` is not quantized by absmax / 127"))?;
        let reduce = self.maker(self.with_scalar(absmax, "Max", 1e-12)?, "ReduceMax")?;
        let rows = attribute(reduce, "axes").is_some_and(|a| a.ints == [-1])
            && attribute(reduce, "keepdims").is_none_or(|a| a.i == 1);
        let whole = inputs(reduce).and_then(|[a]| self.unary(a, "Abs")) == Ok(x);
        expect(rows && whole, || format!("`{q}` is not quantized row by row"))?;
        Ok(x)
    }
}

impl LinearParts<'_> {
    fn sized(self, inputs: usize, outputs: usize) -> Found<Self> {
        let found = (self.inputs, self.outputs);
        expect(found == (inputs, outputs), || {
            format!("a linear layer is {found:?}, not {:?}", (inputs, outputs))
        })?;
        Ok(self)
    }

    fn sized_inputs(self, inputs: usize) -> Found<Self> {
        let outputs = self.outputs;
        self.sized(inputs, outputs)
    }
}
