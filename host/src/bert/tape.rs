use super::checkpoint::{PROJECTION, WORD_EMBEDDINGS};
use super::ops::{
    Attention, Dropout, Slot, bias_gradient, embedding, embedding_backward, gelu, gelu_backward,
    input_gradient, layer_norm, layer_norm_backward, linear, mix, product, round_activations, round_weights,
    weight_gradient,
};
use super::{Batch, Classifier, Error, Gradients, LayerShape, Mode, Output, OutputGradient};

const POSITIONS: &str = "bert.embeddings.position_embeddings.weight";
const TYPES: &str = "bert.embeddings.token_type_embeddings.weight";
const EMBEDDINGS_NORM: &str = "bert.embeddings.LayerNorm";
const POOLER: &str = "bert.pooler.dense";
const HEAD: &str = "classifier";

/// A forward pass with all that backward needs, and memory for both: one tape serves one step after another.
#[derive(Debug, Clone, Default)]
pub struct Tape {
    output: Output,
    batch: Batch,
    mode: Mode,
    /// Rows of factorised word embeddings: [texts * sequence, rank].
    factors: Vec<f32>,
    embedded: Norm,
    layers: Vec<LayerTape>,
    /// After tanh: [texts, hidden].
    pooled: Vec<f32>,
    /// And after dropout.
    dropped: Vec<f32>,
    scratch: Scratch,
}

/// What a LayerNorm keeps: see [`layer_norm`].
#[derive(Debug, Clone, Default)]
struct Norm {
    normal: Vec<f32>,
    inverse: Vec<f32>,
}

/// One layer. "Rows" are its own ones: those of all tokens, or of the first tokens in the last layer.
#[derive(Debug, Clone, Default)]
struct LayerTape {
    /// The first tokens of the input, in the last layer.
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
    /// Between attention and feed-forward: [rows, hidden].
    middle: Vec<f32>,
    /// Of GELU: [rows, intermediate].
    derivative: Vec<f32>,
    wide: Vec<f32>,
    out: Norm,
}

/// Gradients on their way down, by the shape of what they are of.
#[derive(Debug, Clone, Default)]
struct Scratch {
    /// [texts, hidden]
    cls: Vec<f32>,
    pooled: Vec<f32>,
    /// [texts * sequence, hidden]
    hidden: Vec<f32>,
    /// [rows, hidden]
    narrow: Vec<f32>,
    /// [rows, intermediate]
    wide: Vec<f32>,
    context: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

/// A buffer of so many values, whatever they are.
fn sized(buffer: &mut Vec<f32>, n: usize) -> &mut [f32] {
    buffer.resize(n, 0.0);
    buffer
}

fn add(to: &mut [f32], x: &[f32]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += x);
}

impl Mode {
    /// Dropout number `site` of a pass: each has a mask of its own.
    fn dropout(self, rate: f64, site: usize) -> Dropout {
        match self {
            Mode::Train { seed } => Dropout { rate: rate as f32, seed: mix(seed ^ mix(site as u32)) },
            _ => Dropout { rate: 0.0, seed: 0 },
        }
    }
}

/// Number of the dropout after the embeddings.
const EMBEDDINGS_SITE: usize = 1;

/// Numbers of the dropouts of a layer: attention, after attention, after feed-forward. Those of the head follow the last.
fn sites(layer: usize) -> [usize; 3] {
    [0, 1, 2].map(|k| EMBEDDINGS_SITE + 1 + 3 * layer + k)
}

impl Tape {
    /// What the last pass gave.
    pub fn output(&self) -> &Output {
        &self.output
    }
}

impl Classifier {
    /// Logits and hidden states of a batch, written to `tape`.
    ///
    /// # Errors
    /// When a text is too long for the model, or has ids that the model lacks.
    pub fn forward<'t>(&self, batch: &Batch, mode: Mode, tape: &'t mut Tape) -> Result<&'t Output, Error> {
        self.check(batch)?;
        let c = self.config();
        let (h, rows) = (c.hidden_size, batch.texts * batch.sequence);
        let layers = c.layers();
        tape.batch = batch.clone();
        tape.mode = mode;
        // layers share one tape where nothing is kept
        let kept = if mode == Mode::Evaluate { 1 } else { layers.len() };
        tape.layers.resize_with(kept, LayerTape::default);
        tape.output.hidden.resize_with(layers.len().max(1), Vec::new);
        let hidden = &mut tape.output.hidden;
        self.embed(batch, mode, &mut tape.factors, &mut tape.embedded, sized(&mut hidden[0], rows * h));
        for (i, shape) in layers.iter().enumerate() {
            let (below, above) = hidden.split_at_mut(i + 1);
            let last = i + 1 == layers.len();
            let y = if last { &mut tape.output.cls } else { &mut above[0] };
            self.layer(i, *shape, &below[i], batch, mode, last, &mut tape.layers[i % kept], y);
        }
        if layers.is_empty() {
            first_rows(&hidden[0], batch, h, sized(&mut tape.output.cls, batch.texts * h));
        }
        let pooled = sized(&mut tape.pooled, batch.texts * c.pooler_size());
        self.linear(POOLER, &tape.output.cls, pooled);
        pooled.iter_mut().for_each(|x| *x = x.tanh());
        let dropped = sized(&mut tape.dropped, pooled.len());
        self.head_dropout(mode).copy(pooled, dropped);
        self.linear(HEAD, dropped, sized(&mut tape.output.logits, batch.texts * c.num_labels()));
        Ok(&tape.output)
    }

    /// Adds to `gradients` those of the weights, for the pass on the tape.
    ///
    /// # Panics
    /// When nothing was kept in that pass ([`Mode::Evaluate`]), or a gradient has another shape than its output.
    pub fn backward(&self, tape: &mut Tape, above: &OutputGradient, gradients: &mut Gradients) {
        assert_ne!(tape.mode, Mode::Evaluate, "nothing was kept for backward");
        let Tape { output, batch, mode, factors, embedded, layers, pooled, dropped, scratch } = tape;
        assert_eq!(above.logits.len(), output.logits.len());
        let (h, rows) = (self.config().hidden_size, batch.texts * batch.sequence);

        let mut down = std::mem::take(&mut scratch.pooled);
        let g = sized(&mut down, pooled.len());
        self.linear_backward(HEAD, dropped, &above.logits, Slot::new(g), gradients);
        self.head_dropout(*mode).apply(g);
        g.iter_mut().zip(&*pooled).for_each(|(g, y)| *g *= 1.0 - y * y);
        let mut cls = std::mem::take(&mut scratch.cls);
        let of_cls = Slot::new(sized(&mut cls, output.cls.len()));
        self.linear_backward(POOLER, &output.cls, g, of_cls, gradients);
        scratch.pooled = down;
        if let Some(own) = &above.cls {
            add(&mut cls, own);
        }

        let mut hidden = std::mem::take(&mut scratch.hidden);
        sized(&mut hidden, rows * h);
        if layers.is_empty() {
            hidden.fill(0.0);
            add_first_rows(&cls, batch, h, &mut hidden);
        }
        for (i, shape) in self.config().layers().into_iter().enumerate().rev() {
            let last = i + 1 == layers.len();
            let (own, below) = if last { (&mut cls, Some(&mut *hidden)) } else { (&mut hidden, None) };
            self.layer_backward(
                i,
                shape,
                &output.hidden[i],
                batch,
                *mode,
                &layers[i],
                own,
                below,
                scratch,
                gradients,
            );
            if let Some(own) = above.hidden.get(i).and_then(Option::as_ref) {
                add(&mut hidden, own);
            }
        }
        self.embed_backward(batch, *mode, factors, embedded, &mut hidden, scratch, gradients);
        (scratch.cls, scratch.hidden) = (cls, hidden);
    }

    /// The places where a batch would reach beyond a table.
    fn check(&self, batch: &Batch) -> Result<(), Error> {
        let c = self.config();
        if batch.sequence > c.max_position_embeddings {
            return Err(Error::Config(format!(
                "a text of {} tokens, but max_position_embeddings is {}",
                batch.sequence, c.max_position_embeddings
            )));
        }
        for (what, ids, rows) in
            [("piece id", &batch.ids, c.vocab_size), ("type id", &batch.type_ids, c.type_vocab_size)]
        {
            if let Some(id) = ids.iter().copied().find(|id| *id as usize >= rows) {
                return Err(Error::Id { what, id, rows });
            }
        }
        Ok(())
    }

    fn head_dropout(&self, mode: Mode) -> Dropout {
        mode.dropout(self.config().head_dropout(), sites(self.config().num_hidden_layers)[0])
    }

    fn embed(&self, batch: &Batch, mode: Mode, factors: &mut Vec<f32>, norm: &mut Norm, y: &mut [f32]) {
        let (h, words) = (self.config().hidden_size, self.weight(WORD_EMBEDDINGS));
        let x = sized(&mut norm.normal, y.len());
        let round = |name: &str, rows: &mut [f32], width: usize| {
            if let Some(bits) = self.bits(name) {
                round_weights(rows, width, bits);
            }
        };
        match self.config().embedding_rank() {
            Some(rank) => {
                embedding(words, &batch.ids, rank, sized(factors, batch.ids.len() * rank), false);
                round(WORD_EMBEDDINGS, factors, rank);
                match self.rounded(PROJECTION, factors, h) {
                    Some((factors, projection)) => product(&factors, &projection, h, x, false),
                    None => product(factors, self.weight(PROJECTION), h, x, false),
                }
            }
            None => {
                embedding(words, &batch.ids, h, x, false);
                round(WORD_EMBEDDINGS, x, h);
            }
        }
        embedding(self.weight(TYPES), &batch.type_ids, h, x, true);
        if self.bits(POSITIONS).is_some() {
            let mut rows = vec![0.0; x.len()];
            embedding(self.weight(POSITIONS), &batch.positions, h, &mut rows, false);
            round(POSITIONS, &mut rows, h);
            add(x, &rows);
        } else {
            embedding(self.weight(POSITIONS), &batch.positions, h, x, true);
        }
        self.norm(EMBEDDINGS_NORM, norm, y);
        mode.dropout(self.config().hidden_dropout_prob, EMBEDDINGS_SITE).apply(y);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a tape")]
    fn embed_backward(
        &self,
        batch: &Batch,
        mode: Mode,
        factors: &[f32],
        norm: &Norm,
        g: &mut [f32],
        scratch: &mut Scratch,
        gradients: &mut Gradients,
    ) {
        let h = self.config().hidden_size;
        mode.dropout(self.config().hidden_dropout_prob, EMBEDDINGS_SITE).apply(g);
        self.norm_backward(EMBEDDINGS_NORM, norm, g, gradients);
        embedding_backward(g, &batch.positions, h, gradients.slot(POSITIONS));
        embedding_backward(g, &batch.type_ids, h, gradients.slot(TYPES));
        if self.config().embedding_rank().is_some() {
            let rounded = self.rounded(PROJECTION, factors, h);
            let (factors, projection) = match &rounded {
                Some((factors, projection)) => (&factors[..], &projection[..]),
                None => (factors, self.weight(PROJECTION)),
            };
            weight_gradient(g, factors, h, gradients.slot(PROJECTION));
            let rows = sized(&mut scratch.narrow, factors.len());
            input_gradient(g, projection, h, Slot::new(rows));
            gradients.add_rows(&batch.ids, rows);
        } else {
            gradients.add_rows(&batch.ids, g);
        }
    }

    /// One encoder layer; the last one only for the first token of each text: nothing else reaches the logits.
    #[expect(clippy::too_many_arguments, reason = "the parts of a tape")]
    fn layer(
        &self,
        index: usize,
        shape: LayerShape,
        x: &[f32],
        batch: &Batch,
        mode: Mode,
        last: bool,
        tape: &mut LayerTape,
        y: &mut Vec<f32>,
    ) {
        let (h, a) = (self.config().hidden_size, shape.attention_size());
        let name = |part: &str| format!("bert.encoder.layer.{index}.{part}");
        let attention = self.attention(index, shape, batch, mode, last);
        let all = batch.texts * batch.sequence;
        let rows = batch.texts * attention.queries;
        if last {
            first_rows(x, batch, h, sized(&mut tape.first, rows * h));
        }
        let own = if last { &tape.first } else { x };
        self.linear(&name("attention.self.query"), own, sized(&mut tape.q, rows * a));
        self.linear(&name("attention.self.key"), x, sized(&mut tape.k, all * a));
        self.linear(&name("attention.self.value"), x, sized(&mut tape.v, all * a));
        let probabilities = sized(&mut tape.probabilities, rows * shape.heads * batch.sequence);
        let context = sized(&mut tape.context, rows * a);
        attention.forward(&tape.q, &tape.k, &tape.v, probabilities, context);

        let rate = self.config().hidden_dropout_prob;
        let [_, after_attention, after_wide] = sites(index).map(|site| mode.dropout(rate, site));
        let attended = sized(&mut tape.attended.normal, rows * h);
        self.linear(&name("attention.output.dense"), context, attended);
        after_attention.add(own, attended);
        let middle = sized(&mut tape.middle, rows * h);
        self.norm(&name("attention.output.LayerNorm"), &mut tape.attended, middle);

        let derivative = sized(&mut tape.derivative, rows * shape.intermediate);
        self.linear(&name("intermediate.dense"), middle, derivative);
        let wide = sized(&mut tape.wide, derivative.len());
        gelu(derivative, wide);
        let narrow = sized(&mut tape.out.normal, rows * h);
        self.linear(&name("output.dense"), wide, narrow);
        after_wide.add(middle, narrow);
        self.norm(&name("output.LayerNorm"), &mut tape.out, sized(y, rows * h));
    }

    /// `g` is the gradient of the layer's output and becomes that of its input; in the last layer, where `g` has rows
    /// of first tokens only, the whole gradient of the input is written to `below`.
    #[expect(clippy::too_many_arguments, reason = "the parts of a tape")]
    fn layer_backward(
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
        self.linear_backward(&name("output.dense"), &tape.wide, narrow, Slot::new(wide), gradients);
        gelu_backward(&tape.derivative, wide);
        let down = Slot::adding(&mut *g);
        self.linear_backward(&name("intermediate.dense"), &tape.middle, wide, down, gradients);

        self.norm_backward(&name("attention.output.LayerNorm"), &tape.attended, g, gradients);
        after_attention.copy(g, narrow);
        let context = sized(&mut scratch.context, tape.context.len());
        let down = Slot::new(&mut *context);
        self.linear_backward(&name("attention.output.dense"), &tape.context, narrow, down, gradients);

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
        self.linear_backward(&name("attention.self.query"), own, dq, down, gradients);
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
            self.linear_backward(&name(part), x, d, Slot::adding(&mut *to), gradients);
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
            dropout: mode.dropout(self.config().attention_probs_dropout_prob, sites(index)[0]),
        }
    }

    /// The linear layer `name`: all products of activations with weights but that of factorised embeddings are here.
    fn linear(&self, name: &str, x: &[f32], y: &mut [f32]) {
        let (weight, bias) = (format!("{name}.weight"), self.weight(&format!("{name}.bias")));
        match self.rounded(&weight, x, bias.len()) {
            Some((x, weight)) => linear(&x, &weight, bias, y),
            None => linear(x, self.weight(&weight), bias, y),
        }
    }

    /// Activations and the matrix `name` that they are multiplied by, both rounded to integers, where they are.
    fn rounded(&self, name: &str, x: &[f32], outputs: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        let bits = self.bits(name)?;
        let (mut x, mut weight) = (x.to_vec(), self.weight(name).to_vec());
        let inputs = weight.len() / outputs;
        round_activations(&mut x, inputs);
        round_weights(&mut weight, inputs, bits);
        Some((x, weight))
    }

    /// Its backward: `x` as in forward, `g` the gradient of y, `dx` the place for that of x.
    fn linear_backward(&self, name: &str, x: &[f32], g: &[f32], dx: Slot, gradients: &mut Gradients) {
        let weight = format!("{name}.weight");
        let [dw, db] = gradients.pair(name);
        let outputs = db.values.len();
        let rounded = self.rounded(&weight, x, outputs);
        let (x, weight) = match &rounded {
            Some((x, weight)) => (&x[..], &weight[..]),
            None => (x, self.weight(&weight)),
        };
        weight_gradient(g, x, outputs, dw);
        bias_gradient(g, db);
        input_gradient(g, weight, outputs, dx);
    }

    /// The LayerNorm `name` of what is in `norm.normal`.
    fn norm(&self, name: &str, norm: &mut Norm, y: &mut [f32]) {
        let (w, b) = (self.weight(&format!("{name}.weight")), self.weight(&format!("{name}.bias")));
        let inverse = sized(&mut norm.inverse, y.len() / w.len());
        layer_norm(&mut norm.normal, w, b, self.config().layer_norm_eps as f32, inverse, y);
    }

    fn norm_backward(&self, name: &str, norm: &Norm, g: &mut [f32], gradients: &mut Gradients) {
        let w = self.weight(&format!("{name}.weight"));
        layer_norm_backward(&norm.normal, &norm.inverse, w, g, gradients.pair(name));
    }
}

/// The first token's row of each text.
fn first_rows(x: &[f32], batch: &Batch, width: usize, y: &mut [f32]) {
    for (x, y) in x.chunks_exact(batch.sequence * width).zip(y.chunks_exact_mut(width)) {
        y.copy_from_slice(&x[..width]);
    }
}

/// Adds a row to the first token's of each text.
fn add_first_rows(x: &[f32], batch: &Batch, width: usize, y: &mut [f32]) {
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(batch.sequence * width)) {
        add(&mut y[..width], x);
    }
}
