//! Forward and backward of one encoder layer.

use super::ops::{Attention, Slot, gelu, gelu_backward};
use super::tape::{Norm, Scratch, add_first_rows, first_rows, sites, sized};
use super::{Batch, Classifier, Gradients, LayerShape, Mode};

/// What backward needs of one layer. "Rows" are all tokens or, in the last layer, the first token of each
/// text.
#[derive(Debug, Clone, Default)]
pub(super) struct LayerTape {
    /// The first tokens of the input; used in the last layer only.
    first: Vec<f32>,
    /// [rows, attention]
    q: Vec<f32>,
    /// [texts * sequence, attention]
    k: Vec<f32>,
    v: Vec<f32>,
    /// See [`Attention`].
    probabilities: Vec<f32>,
    /// [rows, attention]
    context: Vec<f32>,
    attended: Norm,
    /// Input of the feed-forward part: [rows, hidden].
    middle: Vec<f32>,
    /// Derivative of GELU: [rows, intermediate].
    derivative: Vec<f32>,
    wide: Vec<f32>,
    out: Norm,
}

impl Classifier {
    /// Runs one encoder layer. The last one computes only the first token of each text: nothing else reaches
    /// the logits.
    #[expect(clippy::too_many_arguments, reason = "the parts of a tape")]
    pub(super) fn layer(
        &self,
        index: usize,
        shape: LayerShape,
        x: &[f32],
        batch: &Batch,
        distances: &[f32],
        mode: Mode,
        last: bool,
        tape: &mut LayerTape,
        y: &mut Vec<f32>,
    ) {
        let (h, a) = (self.config().hidden_size, shape.attention_size());
        let name = |part: &str| format!("bert.encoder.layer.{index}.{part}");
        let distances = Some(distances).filter(|distances| !distances.is_empty());
        let attention = Attention { distances, ..self.attention(index, shape, batch, mode, last) };
        let all = batch.texts * batch.sequence;
        let rows = batch.texts * attention.queries;
        if last {
            first_rows(x, batch, h, sized(&mut tape.first, rows * h));
        }
        let own = if last { &tape.first } else { x };
        self.linear(&name("attention.self.query"), mode, own, sized(&mut tape.q, rows * a));
        self.linear(&name("attention.self.key"), mode, x, sized(&mut tape.k, all * a));
        self.linear(&name("attention.self.value"), mode, x, sized(&mut tape.v, all * a));
        let probabilities = sized(&mut tape.probabilities, rows * shape.heads * batch.sequence);
        let context = sized(&mut tape.context, rows * a);
        attention.forward(&tape.q, &tape.k, &tape.v, probabilities, context);

        let rate = self.config().hidden_dropout_prob;
        let [_, after_attention, after_wide] = sites(index).map(|site| mode.dropout(rate, site));
        let attended = sized(&mut tape.attended.normal, rows * h);
        self.linear(&name("attention.output.dense"), mode, context, attended);
        after_attention.add(own, attended);
        let middle = sized(&mut tape.middle, rows * h);
        self.norm(&name("attention.output.LayerNorm"), &mut tape.attended, middle);

        let derivative = sized(&mut tape.derivative, rows * shape.intermediate);
        self.linear(&name("intermediate.dense"), mode, middle, derivative);
        let wide = sized(&mut tape.wide, derivative.len());
        gelu(derivative, wide);
        let narrow = sized(&mut tape.out.normal, rows * h);
        self.linear(&name("output.dense"), mode, wide, narrow);
        after_wide.add(middle, narrow);
        self.norm(&name("output.LayerNorm"), &mut tape.out, sized(y, rows * h));
    }

    /// Backpropagates through one layer: `g`, the gradient of its output, becomes that of its input. In the
    /// last layer `g` has only first-token rows, and the whole gradient of the input is written to `below`.
    #[expect(clippy::too_many_arguments, reason = "the parts of a tape")]
    pub(super) fn layer_backward(
        &self,
        index: usize,
        shape: LayerShape,
        x: &[f32],
        batch: &Batch,
        mode: Mode,
        tape: &LayerTape,
        g: &mut [f32],
        below: Option<&mut [f32]>,
        scratch: &mut Scratch,
        gradients: &mut Gradients,
    ) {
        let name = |part: &str| format!("bert.encoder.layer.{index}.{part}");
        let rate = self.config().hidden_dropout_prob;
        let [_, after_attention, after_wide] = sites(index).map(|site| mode.dropout(rate, site));
        let narrow = sized(&mut scratch.narrow, g.len());
        let wide = sized(&mut scratch.wide, tape.wide.len());

        self.norm_backward(&name("output.LayerNorm"), &tape.out, g, gradients);
        after_wide.copy(g, narrow);
        self.linear_backward(&name("output.dense"), mode, &tape.wide, narrow, Slot::new(wide), gradients);
        gelu_backward(&tape.derivative, wide);
        let down = Slot::adding(&mut *g);
        self.linear_backward(&name("intermediate.dense"), mode, &tape.middle, wide, down, gradients);

        self.norm_backward(&name("attention.output.LayerNorm"), &tape.attended, g, gradients);
        after_attention.copy(g, narrow);
        let context = sized(&mut scratch.context, tape.context.len());
        let down = Slot::new(&mut *context);
        self.linear_backward(&name("attention.output.dense"), mode, &tape.context, narrow, down, gradients);

        let [dq, dk, dv] = [
            sized(&mut scratch.q, tape.q.len()),
            sized(&mut scratch.k, tape.k.len()),
            sized(&mut scratch.v, tape.v.len()),
        ];
        let attention = self.attention(index, shape, batch, mode, below.is_some());
        let inputs = [&tape.q, &tape.k, &tape.v].map(Vec::as_slice);
        attention.backward(inputs, &tape.probabilities, context, [&mut *dq, &mut *dk, &mut *dv]);

        let own = if below.is_some() { &tape.first } else { x };
        let down = Slot::adding(&mut *g);
        self.linear_backward(&name("attention.self.query"), mode, own, dq, down, gradients);
        let h = self.config().hidden_size;
        let to = match below {
            Some(below) => {
                below.fill(0.0);
                add_first_rows(g, batch, h, below);
                below
            }
            None => g,
        };
        for (part, d) in [("attention.self.key", &*dk), ("attention.self.value", &*dv)] {
            self.linear_backward(&name(part), mode, x, d, Slot::adding(&mut *to), gradients);
        }
    }

    fn attention<'a>(
        &self,
        index: usize,
        shape: LayerShape,
        batch: &'a Batch,
        mode: Mode,
        last: bool,
    ) -> Attention<'a> {
        Attention {
            sequence: batch.sequence,
            queries: if last { 1 } else { batch.sequence },
            heads: shape.heads,
            head_size: shape.head_size,
            mask: &batch.mask,
            distances: None, // backward does not need them
            dropout: mode.dropout(self.config().attention_probs_dropout_prob, sites(index)[0]),
        }
    }
}
