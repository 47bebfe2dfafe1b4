use super::checkpoint::RELATIVE_ATTENTION_BIAS;
use super::layer::LayerTape;
use super::ops::{Dropout, Precision, Slot, mix};
use super::{Batch, Classifier, Error, Gradients, Mode, Output, OutputGradient, Pooling, mpnet};

pub(super) const EMBEDDINGS_NORM: &str = "bert.embeddings.LayerNorm";
const POOLER_LAYER: &str = "bert.pooler.dense";
const HEAD: &str = "classifier";

/// A forward pass with everything that backward needs, and scratch memory for both; reused from step to step.
#[derive(Debug, Clone, Default)]
pub struct Tape {
    output: Output,
    batch: Batch,
    mode: Mode,
    /// Rows of the factorised word embeddings: [texts * sequence, rank].
    factors: Vec<f32>,
    embedded: Norm,
    /// What attention adds for the distances between tokens: [heads, sequence, sequence], or empty.
    distances: Vec<f32>,
    layers: Vec<LayerTape>,
    /// Pooler output after tanh: [texts, pooler].
    pooled: Vec<f32>,
    /// The same after dropout.
    dropped: Vec<f32>,
    scratch: Scratch,
}

/// What a LayerNorm keeps for backward: see [`layer_norm`].
#[derive(Debug, Clone, Default)]
pub(super) struct Norm {
    pub(super) normal: Vec<f32>,
    pub(super) inverse: Vec<f32>,
}

/// Buffers for intermediate gradients, named after the value they belong to.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    /// [texts, hidden]
    pub(super) cls: Vec<f32>,
    pub(super) pooled: Vec<f32>,
    /// [texts * sequence, hidden]
    pub(super) hidden: Vec<f32>,
    /// [rows, hidden]
    pub(super) narrow: Vec<f32>,
    /// [rows, intermediate]
    pub(super) wide: Vec<f32>,
    pub(super) context: Vec<f32>,
    pub(super) q: Vec<f32>,
    pub(super) k: Vec<f32>,
    pub(super) v: Vec<f32>,
}

/// Resizes a buffer to `n` values, whose contents are unspecified.
pub(super) fn sized(buffer: &mut Vec<f32>, n: usize) -> &mut [f32] {
    buffer.resize(n, 0.0);
    buffer
}

pub(super) fn add(to: &mut [f32], x: &[f32]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += x);
}

impl Mode {
    /// Returns the dropout numbered `site` in a pass; each site has its own mask.
    pub(super) fn dropout(self, rate: f64, site: usize) -> Dropout {
        match self {
            Mode::Train { seed, .. } => Dropout { rate: rate as f32, seed: mix(seed ^ mix(site as u32)) },
            _ => Dropout { rate: 0.0, seed: 0 },
        }
    }

    /// Returns whether everything that backward needs is kept.
    fn keeps(self) -> bool {
        matches!(self, Mode::Differentiate | Mode::Train { .. })
    }

    pub(super) fn precision(self) -> Precision {
        match self {
            Mode::Train { precision, .. } | Mode::Answer { precision } => precision,
            Mode::Evaluate | Mode::Differentiate => Precision::F32,
        }
    }
}

/// Site of the dropout after the embeddings.
pub(super) const EMBEDDINGS_SITE: usize = 1;

/// Returns the dropout sites of a layer: on the attention probabilities, after attention, after feed-forward.
/// The head's site follows those of the last layer.
pub(super) fn sites(layer: usize) -> [usize; 3] {
    [0, 1, 2].map(|k| EMBEDDINGS_SITE + 1 + 3 * layer + k)
}

impl Tape {
    /// Returns the input of the head in the last pass, before dropout: [texts, pooler].
    pub fn pooled(&self) -> &[f32] {
        &self.pooled
    }

    /// Returns the output of the last pass.
    pub fn output(&self) -> &Output {
        &self.output
    }
}

impl Classifier {
    /// Computes the logits and hidden states of a batch into `tape`.
    ///
    /// # Errors
    /// If a text is too long for the model, or has ids outside its embedding tables.
    pub fn forward<'t>(&self, batch: &Batch, mode: Mode, tape: &'t mut Tape) -> Result<&'t Output, Error> {
        self.pass(batch, mode, false, tape)?;
        Ok(&tape.output)
    }

    /// Runs [`forward`](Self::forward) in evaluation mode and returns one vector per text: [texts, hidden].
    ///
    /// # Errors
    /// See [`forward`](Self::forward).
    pub fn sentence_vectors(
        &self,
        batch: &Batch,
        pooling: Pooling,
        tape: &mut Tape,
    ) -> Result<Vec<f32>, Error> {
        if pooling == Pooling::Cls {
            return Ok(self.forward(batch, Mode::Evaluate, tape)?.cls.clone());
        }
        self.pass(batch, Mode::Evaluate, true, tape)?;
        let width = self.config().hidden_size;
        let tokens: Vec<bool> = batch.tokens().collect();
        let states = tape.output.hidden.last().expect("at least the embeddings");
        let mut means = vec![0.0; batch.texts * width];
        let texts = states.chunks_exact(batch.sequence * width).zip(tokens.chunks_exact(batch.sequence));
        for ((states, tokens), mean) in texts.zip(means.chunks_exact_mut(width)) {
            let rows = states.chunks_exact(width).zip(tokens).filter(|(_, token)| **token);
            rows.for_each(|(row, _)| add(mean, row));
            let count = tokens.iter().filter(|token| **token).count() as f32;
            mean.iter_mut().for_each(|x| *x /= count);
        }
        Ok(means)
    }

    /// Runs the forward pass. With `whole`, the last layer is computed for all tokens and appended to the
    /// hidden states.
    fn pass(&self, batch: &Batch, mode: Mode, whole: bool, tape: &mut Tape) -> Result<(), Error> {
        self.check(batch)?;
        let c = self.config();
        let (h, rows) = (c.hidden_size, batch.texts * batch.sequence);
        let layers = c.layers();
        tape.batch = batch.clone();
        tape.mode = mode;
        // if nothing is kept for backward, all layers share one tape
        let kept = if mode.keeps() { layers.len() } else { 1 };
        tape.layers.resize_with(kept, LayerTape::default);
        tape.output.hidden.resize_with(layers.len() + usize::from(whole), Vec::new);
        let hidden = &mut tape.output.hidden;
        self.embed(batch, mode, &mut tape.factors, &mut tape.embedded, sized(&mut hidden[0], rows * h));
        tape.distances.clear();
        if let Some(table) = self.weights().get(RELATIVE_ATTENTION_BIAS) {
            mpnet::relative_bias(&table.data, batch.sequence, layers[0].head_size, &mut tape.distances);
        }
        for (i, shape) in layers.iter().enumerate() {
            let (below, above) = hidden.split_at_mut(i + 1);
            let last = i + 1 == layers.len() && !whole;
            let y = if last { &mut tape.output.cls } else { &mut above[0] };
            let own = &mut tape.layers[i % kept];
            self.layer(i, *shape, &below[i], batch, &tape.distances, mode, last, own, y);
        }
        if whole {
            let top = &hidden[layers.len()];
            first_rows(top, batch, h, sized(&mut tape.output.cls, batch.texts * h));
        }
        let pooled = sized(&mut tape.pooled, batch.texts * c.pooler_size());
        self.linear(POOLER_LAYER, mode, &tape.output.cls, pooled);
        pooled.iter_mut().for_each(|x| *x = x.tanh());
        let dropped = sized(&mut tape.dropped, pooled.len());
        self.head_dropout(mode).copy(pooled, dropped);
        self.linear(HEAD, mode, dropped, sized(&mut tape.output.logits, batch.texts * c.num_labels()));
        Ok(())
    }

    /// Adds the gradients of the weights, for the pass on the tape, to `gradients`.
    ///
    /// # Panics
    /// If the pass kept nothing (inference), or a gradient has another shape than its output.
    pub fn backward(&self, tape: &mut Tape, above: &OutputGradient, gradients: &mut Gradients) {
        assert!(tape.mode.keeps(), "nothing was kept for backward");
        let Tape { output, batch, mode, factors, embedded, layers, pooled, dropped, scratch, .. } = tape;
        assert_eq!(above.logits.len(), output.logits.len());
        let (h, rows) = (self.config().hidden_size, batch.texts * batch.sequence);

        let mut down = std::mem::take(&mut scratch.pooled);
        let g = sized(&mut down, pooled.len());
        self.linear_backward(HEAD, *mode, dropped, &above.logits, Slot::new(g), gradients);
        self.head_dropout(*mode).apply(g);
        g.iter_mut().zip(&*pooled).for_each(|(g, y)| *g *= 1.0 - y * y);
        let mut cls = std::mem::take(&mut scratch.cls);
        let of_cls = Slot::new(sized(&mut cls, output.cls.len()));
        self.linear_backward(POOLER_LAYER, *mode, &output.cls, g, of_cls, gradients);
        scratch.pooled = down;
        if let Some(own) = &above.cls {
            add(&mut cls, own);
        }

        let mut hidden = std::mem::take(&mut scratch.hidden);
        sized(&mut hidden, rows * h);
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

    /// Rejects a batch that exceeds an embedding table.
    fn check(&self, batch: &Batch) -> Result<(), Error> {
        let c = self.config();
        if batch.texts == 0 || batch.sequence == 0 {
            return Err(Error::EmptyBatch);
        }
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
}

/// Copies the first token's row of each text to `y`.
pub(super) fn first_rows(x: &[f32], batch: &Batch, width: usize, y: &mut [f32]) {
    for (x, y) in x.chunks_exact(batch.sequence * width).zip(y.chunks_exact_mut(width)) {
        y.copy_from_slice(&x[..width]);
    }
}

/// Adds each row of `x` to the first token's row of a text in `y`.
pub(super) fn add_first_rows(x: &[f32], batch: &Batch, width: usize, y: &mut [f32]) {
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(batch.sequence * width)) {
        add(&mut y[..width], x);
    }
}
