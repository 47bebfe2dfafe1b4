use super::checkpoint::{PROJECTION, WORD_EMBEDDINGS};
use super::ops::{Attention, attention, dropout, embedding, gelu, layer_norm, linear, mix, with_values};
use super::{Array, Checkpoint, Config, Error, LayerShape, TokenizerFiles};
use candle_core::{Device, Tensor, Var};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The ids of one text or pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Piece ids with the special ones.
    pub ids: Vec<u32>,
    /// 0 for the first text, 1 for the second.
    pub type_ids: Vec<u8>,
}

/// Texts padded to one length.
#[derive(Debug, Clone)]
pub struct Batch {
    texts: usize,
    sequence: usize,
    /// [texts * sequence]
    ids: Arc<[u32]>,
    type_ids: Arc<[u32]>,
    positions: Arc<[u32]>,
    /// 0 for a token, a large negative number for padding.
    mask: Arc<[f32]>,
}

impl Batch {
    /// Pads with `pad_id` to the longest of the texts.
    pub fn new<'a>(texts: impl ExactSizeIterator<Item = &'a Tokens> + Clone, pad_id: u32) -> Self {
        let sequence = texts.clone().map(|t| t.ids.len()).max().unwrap_or(0);
        let (mut ids, mut type_ids, mut mask) = (Vec::new(), Vec::new(), Vec::new());
        for (row, text) in texts.clone().enumerate() {
            let end = (row + 1) * sequence;
            ids.extend(&text.ids);
            type_ids.extend(text.type_ids.iter().map(|t| u32::from(*t)));
            mask.resize(ids.len(), 0.0);
            ids.resize(end, pad_id);
            type_ids.resize(end, 0);
            mask.resize(end, -1e9);
        }
        let positions = (0..ids.len()).map(|i| (i % sequence) as u32).collect();
        Self {
            texts: texts.len(),
            sequence,
            ids: ids.into(),
            type_ids: type_ids.into(),
            positions,
            mask: mask.into(),
        }
    }

    /// Number of texts.
    pub fn texts(&self) -> usize {
        self.texts
    }

    /// Tokens in each, padding included.
    pub fn sequence(&self) -> usize {
        self.sequence
    }

    /// Row of each text's first token.
    fn first_rows(&self) -> Arc<[u32]> {
        (0..self.texts).map(|i| (i * self.sequence) as u32).collect()
    }

    /// 1 for a token, 0 for padding: [texts * sequence, 1].
    pub fn token_weights(&self) -> candle_core::Result<Tensor> {
        let weights: Vec<f32> = self.mask.iter().map(|m| if *m == 0.0 { 1.0 } else { 0.0 }).collect();
        Tensor::from_vec(weights, (self.texts * self.sequence, 1), &Device::Cpu)
    }
}

/// What a forward pass gives.
#[derive(Debug, Clone)]
pub struct Output {
    /// [texts, labels]
    pub logits: Tensor,
    /// After the embeddings and after each layer but the last: [texts * sequence, hidden].
    pub hidden: Vec<Tensor>,
    /// The first token after the last layer: [texts, hidden].
    pub cls: Tensor,
    /// The rows taken from the word embeddings, a leaf of the graph in training: see [`WordRows`].
    pub words: WordRows,
}

/// Rows of the word embedding table that a batch used.
///
/// The gradient of the table is zero but in these rows, so backward stops here and the dense gradient, the largest
/// tensor of a small BERT, is never made.
#[derive(Debug, Clone)]
pub struct WordRows {
    /// Row numbers: [texts * sequence].
    pub ids: Arc<[u32]>,
    /// Their values: [texts * sequence, width].
    pub values: Tensor,
}

/// `BertForSequenceClassification`: encoder, pooler on [CLS], dropout, linear head.
///
/// Of the last layer only the [CLS] rows are computed: nothing else reaches the logits.
#[derive(Debug)]
pub struct Classifier {
    config: Config,
    tokenizer: TokenizerFiles,
    weights: BTreeMap<String, Var>,
}

/// Sites of dropout in one forward pass; each gets a seed of its own.
struct Drops {
    seed: Option<u32>,
    site: u32,
}

impl Drops {
    fn next(&mut self) -> u32 {
        self.site += 1;
        mix(self.seed.unwrap_or(0) ^ mix(self.site))
    }

    fn apply(&mut self, x: Tensor, rate: f64) -> candle_core::Result<Tensor> {
        let seed = self.next();
        if self.seed.is_none() { Ok(x) } else { dropout(&x, rate, seed) }
    }
}

impl Classifier {
    /// A model with the weights of a checkpoint; what is missing (of a pretrained encoder, the head) is
    /// initialised as Transformers does it (normal, deviation 0.02; biases 0; norms 1), from `seed`.
    pub fn new(checkpoint: Checkpoint, seed: u64) -> Result<Self, Error> {
        checkpoint.config.check()?;
        let Checkpoint { config, mut tensors, tokenizer } = checkpoint;
        let mut weights = BTreeMap::new();
        for (name, shape) in Checkpoint::shapes(&config) {
            let array = match tensors.remove(&name) {
                Some(array) if array.shape == shape => array,
                Some(array) => return Err(Error::Shape { name, found: array.shape, wanted: shape }),
                None if name.ends_with("bias") => Array::zeros(&shape),
                None if name.ends_with("LayerNorm.weight") => {
                    let n = shape[0];
                    Array { shape: shape.clone(), data: vec![1.0; n] }
                }
                None => normal(&shape, 0.02, seed ^ fingerprint(&name)),
            };
            let tensor = Tensor::from_vec(array.data, shape, &Device::Cpu)?;
            weights.insert(name, Var::from_tensor(&tensor)?);
        }
        Ok(Self { config, tokenizer, weights })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Vocabulary and tokenizer settings.
    pub fn tokenizer(&self) -> &TokenizerFiles {
        &self.tokenizer
    }

    /// The weights by name, in native shapes.
    pub fn weights(&self) -> &BTreeMap<String, Var> {
        &self.weights
    }

    /// A copy of everything.
    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        let array = |v: &Var| -> Result<Array, Error> {
            Ok(Array { shape: v.dims().to_vec(), data: with_values(v, <[f32]>::to_vec)? })
        };
        let tensors =
            self.weights.iter().map(|(n, v)| Ok((n.clone(), array(v)?))).collect::<Result<_, Error>>()?;
        Ok(Checkpoint { config: self.config.clone(), tensors, tokenizer: self.tokenizer.clone() })
    }

    /// Overwrites the weights with those of a checkpoint of the same shape.
    pub fn set(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        for (name, var) in &self.weights {
            let Some(array) = checkpoint.tensors.get(name) else {
                return Err(Error::Missing { name: name.clone(), hint: "it is of another model" });
            };
            var.set(&Tensor::from_slice(&array.data, array.shape.as_slice(), &Device::Cpu)?)?;
        }
        Ok(())
    }

    /// Logits and hidden states of a batch. `seed` switches dropout on.
    pub fn forward(&self, batch: &Batch, seed: Option<u32>) -> Result<Output, Error> {
        let c = &self.config;
        let rate = c.hidden_dropout_prob;
        let mut drops = Drops { seed, site: 0 };
        if batch.sequence > c.max_position_embeddings {
            return Err(Error::Config(format!(
                "a text of {} tokens, but max_position_embeddings is {}",
                batch.sequence, c.max_position_embeddings
            )));
        }
        let mut rows = embedding(&self.weight(WORD_EMBEDDINGS).detach(), batch.ids.clone())?;
        if seed.is_some() {
            rows = Var::from_tensor(&rows)?.into_inner();
        }
        let word_rows = WordRows { ids: batch.ids.clone(), values: rows.clone() };
        let mut words = rows;
        if c.embedding_rank().is_some() {
            words = words.matmul(&self.weight(PROJECTION).t()?)?;
        }
        let table = |name: &str| self.weight(&format!("bert.embeddings.{name}.weight"));
        let positions = embedding(table("position_embeddings"), batch.positions.clone())?;
        let types = embedding(table("token_type_embeddings"), batch.type_ids.clone())?;
        let x = ((words + types)? + positions)?;
        let mut x = drops.apply(self.layer_norm("bert.embeddings.LayerNorm", &x)?, rate)?;
        let layers = c.layers();
        let mut hidden = Vec::with_capacity(layers.len());
        for (i, shape) in layers.iter().enumerate() {
            hidden.push(x.clone());
            x = self.layer(i, *shape, &x, batch, i + 1 == layers.len(), &mut drops)?;
        }
        let cls = if layers.is_empty() { embedding(&x, batch.first_rows())? } else { x };
        let pooled = self.linear("bert.pooler.dense", &cls)?.tanh()?;
        let logits = self.linear("classifier", &drops.apply(pooled, c.head_dropout())?)?;
        Ok(Output { logits, hidden, cls, words: word_rows })
    }

    /// One encoder layer; the last one only for the first token of each text.
    fn layer(
        &self,
        index: usize,
        shape: LayerShape,
        x: &Tensor,
        batch: &Batch,
        last: bool,
        drops: &mut Drops,
    ) -> candle_core::Result<Tensor> {
        let rate = self.config.hidden_dropout_prob;
        let name = |part: &str| format!("bert.encoder.layer.{index}.{part}");
        let rows = if last { embedding(x, batch.first_rows())? } else { x.clone() };
        let q = self.linear(&name("attention.self.query"), &rows)?;
        let k = self.linear(&name("attention.self.key"), x)?;
        let v = self.linear(&name("attention.self.value"), x)?;
        let spec = Attention {
            sequence: batch.sequence,
            queries: if last { 1 } else { batch.sequence },
            heads: shape.heads,
            head_size: shape.head_size,
            mask: batch.mask.clone(),
            dropout: if drops.seed.is_some() { self.config.attention_probs_dropout_prob as f32 } else { 0.0 },
            seed: drops.next(),
        };
        let context = attention(&q, &k, &v, spec)?;
        let attended = drops.apply(self.linear(&name("attention.output.dense"), &context)?, rate)?;
        let x = self.layer_norm(&name("attention.output.LayerNorm"), &(attended + rows)?)?;
        let wide = gelu(&self.linear(&name("intermediate.dense"), &x)?)?;
        let narrow = drops.apply(self.linear(&name("output.dense"), &wide)?, rate)?;
        self.layer_norm(&name("output.LayerNorm"), &(narrow + x)?)
    }

    fn weight(&self, name: &str) -> &Tensor {
        self.weights[name].as_tensor()
    }

    fn linear(&self, name: &str, x: &Tensor) -> candle_core::Result<Tensor> {
        linear(x, self.weight(&format!("{name}.weight")), self.weight(&format!("{name}.bias")))
    }

    fn layer_norm(&self, name: &str, x: &Tensor) -> candle_core::Result<Tensor> {
        let (w, b) = (self.weight(&format!("{name}.weight")), self.weight(&format!("{name}.bias")));
        layer_norm(x, w, b, self.config.layer_norm_eps)
    }
}

/// FNV-1a, so that every tensor gets a random stream of its own.
fn fingerprint(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// Normal values by Box and Muller's method.
pub(crate) fn normal(shape: &[usize], deviation: f64, seed: u64) -> Array {
    let mut random = crate::data::SplitMix::new(seed, 0);
    let mut uniform = || ((random.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let mut value = || deviation * (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    let data = (0..shape.iter().product()).map(|_| value() as f32).collect();
    Array { shape: shape.to_vec(), data }
}
