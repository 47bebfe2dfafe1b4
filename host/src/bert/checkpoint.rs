use super::factors::{FACTORS_FILE, factors_of, product};
use super::tokenizer_files::write_json;
use super::{Config, Error, InputFormat, LayerShape, Pooling, TokenizerFiles, mpnet, tensor_file};
use crate::data::{Dataset, Task};
use half::f16;
use safetensors::tensor::Dtype;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A dense row-major f32 array.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The values.
    pub data: Vec<f32>,
}

impl Array {
    /// Returns an array of zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
    }

    /// Returns the rows and columns of a matrix; a vector counts as one row.
    ///
    /// # Panics
    /// If there are more dimensions.
    pub fn dims2(&self) -> (usize, usize) {
        dims2(&self.shape)
    }

    /// Returns whether all values at the bottom and on the right of `shape` are 0.
    fn is_zero_beyond(&self, shape: &[usize]) -> bool {
        if self.shape == shape || self.shape.len() != shape.len() {
            return true;
        }
        let ((_, all), (rows, columns)) = (self.dims2(), dims2(shape));
        let mut lines = self.data.chunks_exact(all.max(1)).enumerate();
        lines.all(|(row, line)| {
            let kept = if row < rows { columns.min(all) } else { 0 };
            line[kept..].iter().all(|x| *x == 0.0)
        })
    }

    /// Pads with zeros or crops, at the bottom and on the right, to `shape`.
    fn resized(&self, shape: &[usize]) -> Self {
        let mut out = Self::zeros(shape);
        let ((r, c), (rows, cols)) = (self.dims2(), out.dims2());
        for i in 0..r.min(rows) {
            let n = c.min(cols);
            out.data[i * cols..][..n].copy_from_slice(&self.data[i * c..][..n]);
        }
        out
    }
}

/// A BERT checkpoint: the folder that Transformers reads and writes.
///
/// In memory the tensors have native shapes (see [`super::StudentShape`]); [`save`](Self::save) and
/// [`load`](Self::load) convert to and from the plain form. Names are Hugging Face's
/// (`bert.encoder.layer.0.attention.self.query.weight`); factorised word embeddings are
/// `bert.embeddings.word_embeddings.weight` [vocabulary, rank] and
/// `bert.embeddings.word_embeddings_projection.weight` [hidden, rank].
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// `config.json`.
    pub config: Config,
    /// Weights by name.
    pub tensors: BTreeMap<String, Array>,
    /// Vocabulary and tokenizer settings.
    pub tokenizer: TokenizerFiles,
}

/// Tensor name of the position embedding table.
pub const POSITION_EMBEDDINGS: &str = "bert.embeddings.position_embeddings.weight";
/// Name of the token type embeddings [types, hidden].
pub const TYPE_EMBEDDINGS: &str = "bert.embeddings.token_type_embeddings.weight";
/// Tensor name of the word embedding table.
pub const WORD_EMBEDDINGS: &str = "bert.embeddings.word_embeddings.weight";
/// Tensor name of the classifier's matrix.
pub const CLASSIFIER: &str = "classifier.weight";
/// Tensor name of the classifier's bias.
pub const CLASSIFIER_BIAS: &str = "classifier.bias";
/// Tensor name of the pooler's matrix.
pub const POOLER: &str = "bert.pooler.dense.weight";
/// Tensor name of the pooler's bias.
pub const POOLER_BIAS: &str = "bert.pooler.dense.bias";
/// Tensor name of what attention adds for each distance between tokens [distances, heads].
pub(super) const RELATIVE_ATTENTION_BIAS: &str = "bert.encoder.relative_attention_bias.weight";
/// The tensors of the head: pooler and classifier.
const HEAD: [&str; 4] = [CLASSIFIER, CLASSIFIER_BIAS, POOLER, POOLER_BIAS];
/// Tensor name of the matrix that projects factorised word embeddings to the hidden size.
pub const PROJECTION: &str = "bert.embeddings.word_embeddings_projection.weight";
/// Largest absolute value of a weight: far more than any BERT has, and far from overflow.
const MAX_WEIGHT: f32 = 1e9;

impl Checkpoint {
    /// Returns whether there is a classifier.
    pub fn has_head(&self) -> bool {
        self.tensors.contains_key(CLASSIFIER)
    }

    /// Removes the classifier.
    pub fn drop_head(&mut self) {
        self.tensors.retain(|name, _| !name.starts_with("classifier."));
    }

    /// Sets labels, task and input format to those of data that is about to be learned. A head for the same labels in
    /// another order is put in this one, a head for others dropped; so is `compares_pairs` if the texts are single.
    pub fn prepare_for(&mut self, data: &Dataset, input: InputFormat) {
        let labels = match data.task {
            Task::Regression if data.labels.is_empty() => vec!["score".to_string()],
            _ => data.labels.names().to_vec(),
        };
        if !data.is_labelled(&self.config.labels()) && !self.reorder_head(&labels) {
            self.drop_head();
        }
        self.config.set_labels(&labels, data.task);
        self.config.compares_pairs &= data.is_paired();
        self.config.input = Some(input);
    }

    /// Puts the classifier's rows in the order of these labels. Returns `false` if it is for others.
    fn reorder_head(&mut self, labels: &[String]) -> bool {
        let own = self.config.labels();
        let row_of = |label: &String| own.iter().position(|own| own == label);
        let Some(rows) = labels.iter().map(row_of).collect::<Option<Vec<usize>>>() else { return false };
        if own.len() != labels.len() {
            return false;
        }
        for name in [CLASSIFIER, CLASSIFIER_BIAS] {
            if let Some(head) = self.tensors.get_mut(name) {
                let width = head.data.len() / own.len();
                head.data = rows.iter().flat_map(|row| &head.data[row * width..][..width]).copied().collect();
            }
        }
        true
    }

    /// Returns whether the pooler's weights have decayed: their root mean square is below 0.01, half of what
    /// Transformers initialises them with. (For all-MiniLM-L6-v2 it is 0.009.) That of an MPNet is part of the head, so a
    /// pretrained one has none to keep.
    pub fn pooler_has_decayed(&self) -> bool {
        const DECAYED: f64 = 0.01;
        let Some(weight) = self.tensors.get(POOLER) else { return self.config.only_teaches() };
        let squares: f64 = weight.data.iter().map(|x| f64::from(x * x)).sum();
        squares < DECAYED * DECAYED * weight.data.len() as f64
    }

    /// Returns how texts are pooled if this is a sentence encoder, that is, if the pooler has decayed or
    /// [passes \[CLS\] through](Self::pass_through_pooler).
    pub fn sentence_pooling(&self) -> Option<Pooling> {
        if self.pooler_has_decayed() {
            return Some(Pooling::Mean);
        }
        let weight = &self.tensors.get(POOLER)?.data;
        let passes =
            |(i, x): (usize, &f32)| *x == f32::from(u8::from(i % (self.config.hidden_size + 1) == 0));
        weight.iter().enumerate().all(passes).then_some(Pooling::Cls)
    }

    /// Makes the pooler pass \[CLS\] through, apart from its tanh.
    ///
    /// Sentence encoders do not use their pooler, so weight decay shrinks it during their training: the
    /// singular values of all-MiniLM-L6-v2's range from 0.35 down to 0.0001, and a head on top of it learns
    /// slowly.
    pub fn pass_through_pooler(&mut self) {
        let (pooled, width) = (self.config.pooler_size(), self.config.hidden_size);
        let mut weight = Array::zeros(&[pooled, width]);
        weight.data.iter_mut().step_by(width + 1).for_each(|x| *x = 1.0);
        self.tensors.insert(POOLER.into(), weight);
        self.tensors.insert(POOLER_BIAS.into(), Array::zeros(&[pooled]));
    }

    /// The files of a folder, not all of which are always there.
    pub const FILES: [&str; 7] = [
        "config.json",
        "model.safetensors",
        FACTORS_FILE,
        "vocab.txt",
        "tokenizer_config.json",
        "tokenizer.json",
        "special_tokens_map.json",
    ];

    /// Lists the name and native shape of every tensor of a classifier with this configuration.
    pub fn shapes(config: &Config) -> Vec<(String, Vec<usize>)> {
        let h = config.hidden_size;
        let mut out: Vec<(String, Vec<usize>)> = Vec::new();
        let mut add = |name: String, shape: &[usize]| out.push((name, shape.to_vec()));
        match config.embedding_rank() {
            Some(r) => {
                add(WORD_EMBEDDINGS.into(), &[config.vocab_size, r]);
                add(PROJECTION.into(), &[h, r]);
            }
            None => add(WORD_EMBEDDINGS.into(), &[config.vocab_size, h]),
        }
        add(POSITION_EMBEDDINGS.into(), &[config.max_position_embeddings, h]);
        add(TYPE_EMBEDDINGS.into(), &[config.type_vocab_size, h]);
        add("bert.embeddings.LayerNorm.weight".into(), &[h]);
        add("bert.embeddings.LayerNorm.bias".into(), &[h]);
        if let Some(buckets) = config.relative_attention_num_buckets {
            add(RELATIVE_ATTENTION_BIAS.into(), &[buckets, config.num_attention_heads]);
        }
        for (i, layer) in config.layers().into_iter().enumerate() {
            for (name, outputs, inputs) in linears(layer, h) {
                add(format!("bert.encoder.layer.{i}.{name}.weight"), &[outputs, inputs]);
                add(format!("bert.encoder.layer.{i}.{name}.bias"), &[outputs]);
            }
            for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
                add(format!("bert.encoder.layer.{i}.{name}.weight"), &[h]);
                add(format!("bert.encoder.layer.{i}.{name}.bias"), &[h]);
            }
        }
        let p = config.pooler_size();
        add(POOLER.into(), &[p, h]);
        add(POOLER_BIAS.into(), &[p]);
        add(CLASSIFIER.into(), &[config.num_labels(), p]);
        add(CLASSIFIER_BIAS.into(), &[config.num_labels()]);
        out
    }

    /// Reads a folder. A missing encoder tensor is an error; the pooler may be absent, as in pretrained
    /// encoders. The classifier is loaded only if it is complete: with its bias, the pooler, and one row for
    /// each label in `config.json`.
    ///
    /// # Errors
    /// [`Error`], which names the folder or file.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        Self::read(dir).map_err(|error| error.of(dir))
    }

    fn read(dir: &Path) -> Result<Self, Error> {
        let (mut config, is_mpnet) = Config::read(dir)?;
        let tokenizer = if is_mpnet { mpnet::tokenizer(dir)? } else { TokenizerFiles::load(dir)? };
        let pieces = tokenizer.pieces().count();
        if pieces > config.vocab_size {
            let m = format!("has {pieces} pieces, config.json says vocab_size {}", config.vocab_size);
            return Err(Error::Vocabulary(m));
        }
        let names: BTreeSet<String> = Self::shapes(&config).into_iter().map(|(name, _)| name).collect();
        let file = dir.join("model.safetensors");
        let canonical = if is_mpnet { mpnet::canonical } else { tensor_file::canonical };
        let mut found = tensor_file::load_weights(&file, canonical, |name| names.contains(name))?;
        if is_mpnet {
            mpnet::convert_tensors(&config, &mut found);
        }
        // Training with Transformers may have changed what the plain form adds, as a new classifier does to a
        // narrow pooler: then the model is a plain one.
        let narrow = |(name, shape): &(String, Vec<usize>)| {
            name == WORD_EMBEDDINGS || found.get(name).is_none_or(|array| array.is_zero_beyond(shape))
        };
        if !Self::shapes(&config).iter().all(narrow) {
            config.goldcrest = None;
        }
        match factors_of(found.get(WORD_EMBEDDINGS), &config, dir)? {
            Some(factors) => found.extend(factors),
            None => config.goldcrest.iter_mut().for_each(|shape| shape.embedding_rank = None),
        }
        let mut tensors = BTreeMap::new();
        for (name, shape) in Self::shapes(&config) {
            let Some(array) = found.remove(&name) else {
                if name.starts_with("classifier") || name.starts_with("bert.pooler") {
                    continue;
                }
                return Err(Error::Missing { name, hint: "is this folder a checkpoint of such a model?" });
            };
            let plain = plain_shape(&config, &name, &shape);
            // a classifier for another number of labels is ignored
            if array.shape != plain && !name.starts_with("classifier") {
                return Err(Error::Shape { name, found: array.shape, wanted: plain });
            }
            // a regression's bias is as large as its numbers
            let most = if name == CLASSIFIER_BIAS { f32::MAX } else { MAX_WEIGHT };
            if let Some(value) = array.data.iter().find(|x| !(-most..=most).contains(*x)) {
                return Err(Error::Unusable { name, value: *value });
            }
            if array.shape == plain {
                let native = if plain == shape { array } else { array.resized(&shape) };
                tensors.insert(name, native);
            }
        }
        if !is_mpnet
            && !TokenizerFiles::gives_token_types(dir)?
            && let Some(table) = tensors.get_mut(TYPE_EMBEDDINGS)
        {
            // Transformers gives both texts of a pair the first token type
            let first = table.data[..config.hidden_size].to_vec();
            table.data.chunks_exact_mut(first.len()).for_each(|row| row.copy_from_slice(&first));
        }
        let mut loaded = Self { config, tensors, tokenizer };
        // the missing part of the head would be initialised at random
        if !HEAD.iter().all(|name| loaded.tensors.contains_key(*name)) {
            loaded.drop_head();
        }
        Ok(loaded)
    }

    /// Writes the folder in plain BERT form. Weights are written to a temporary file, which is then renamed.
    ///
    /// # Errors
    /// If a file cannot be written, or the vocabulary lacks \[CLS\] or \[SEP\].
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        self.save_as(dir, Dtype::F32)
    }

    /// Like [`save`](Self::save), but in half the bytes: every weight is rounded to f16.
    ///
    /// # Errors
    /// See [`save`](Self::save).
    pub fn save_f16(&self, dir: &Path) -> Result<(), Error> {
        self.save_as(dir, Dtype::F16)
    }

    fn save_as(&self, dir: &Path, dtype: Dtype) -> Result<(), Error> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let mut plain: BTreeMap<String, Array> = BTreeMap::new();
        for (name, array) in &self.tensors {
            if name == PROJECTION || (name == WORD_EMBEDDINGS && self.config.embedding_rank().is_some()) {
                continue;
            }
            let shape = plain_shape(&self.config, name, &array.shape);
            plain.insert(
                name.clone(),
                if shape == array.shape { array.clone() } else { array.resized(&shape) },
            );
        }
        if self.config.embedding_rank().is_some() {
            let mut factors: BTreeMap<String, Array> = [WORD_EMBEDDINGS, PROJECTION]
                .iter()
                .map(|n| (n.to_string(), self.tensors[*n].clone()))
                .collect();
            if dtype == Dtype::F16 {
                // the table must be the product of the factors as written
                let values = factors.values_mut().flat_map(|factor| &mut factor.data);
                values.for_each(|x| *x = f16::from_f32(*x).to_f32());
            }
            plain.insert(WORD_EMBEDDINGS.into(), product(&factors[WORD_EMBEDDINGS], &factors[PROJECTION]));
            // in a separate file, so that Transformers never mistakes the factors for the table
            write_safetensors(&dir.join(FACTORS_FILE), &factors, dtype)?;
        }
        write_safetensors(&dir.join("model.safetensors"), &plain, dtype)?;
        let mut config = self.config.clone();
        for key in ["dtype", "torch_dtype"] {
            // what Transformers computes in
            if let Some(written) = config.extra.get_mut(key) {
                *written = if dtype == Dtype::F16 { "float16" } else { "float32" }.into();
            }
        }
        write_json(&dir.join("config.json"), &config)?;
        let positions = config.max_position_embeddings;
        self.tokenizer.save(dir, config.input.map_or(positions, |input| input.max_tokens.min(positions)))
    }

    /// Keeps only the first `count` position embeddings, for a model that reads no longer texts.
    pub fn cut_positions(&mut self, count: usize) {
        if let Some(table) = self.tensors.get_mut(POSITION_EMBEDDINGS).filter(|table| table.shape[0] > count)
        {
            *table = table.resized(&[count, table.shape[1]]);
            self.config.max_position_embeddings = count;
            self.tokenizer.max_length = self.tokenizer.max_length.min(count);
        }
    }

    /// Returns the word embeddings [vocabulary, hidden], multiplied out if factorised.
    pub fn word_embeddings(&self) -> Array {
        let table = &self.tensors[WORD_EMBEDDINGS];
        self.tensors.get(PROJECTION).map_or_else(|| table.clone(), |projection| product(table, projection))
    }

    /// Returns the number of parameters.
    pub fn parameters(&self) -> usize {
        self.tensors.values().map(|t| t.data.len()).sum()
    }
}

fn dims2(shape: &[usize]) -> (usize, usize) {
    match shape[..] {
        [n] => (1, n),
        [r, c] => (r, c),
        _ => unreachable!("BERT has vectors and matrices only"),
    }
}

/// Lists the linear layers of one encoder layer: name, outputs, inputs.
fn linears(l: LayerShape, h: usize) -> [(&'static str, usize, usize); 6] {
    let a = l.attention_size();
    [
        ("attention.self.query", a, h),
        ("attention.self.key", a, h),
        ("attention.self.value", a, h),
        ("attention.output.dense", h, a),
        ("intermediate.dense", l.intermediate, h),
        ("output.dense", h, l.intermediate),
    ]
}

/// Returns the shape of a tensor in the plain form.
fn plain_shape(config: &Config, name: &str, native: &[usize]) -> Vec<usize> {
    let (h, f) = (config.hidden_size, config.intermediate_size);
    let attention = config.num_attention_heads * (h / config.num_attention_heads);
    if config.goldcrest.is_none() {
        native.to_vec()
    } else if name.contains("attention.self.") {
        if name.ends_with("bias") { vec![attention] } else { vec![attention, h] }
    } else if name.ends_with("attention.output.dense.weight") {
        vec![h, attention]
    } else if name.contains("intermediate.dense") {
        if name.ends_with("bias") { vec![f] } else { vec![f, h] }
    } else if name.contains(".output.dense.weight") {
        vec![h, f]
    } else if name.starts_with("bert.pooler.") {
        if name.ends_with("bias") { vec![h] } else { vec![h, h] }
    } else if name == CLASSIFIER {
        vec![native[0], h]
    } else {
        native.to_vec()
    }
}

fn write_safetensors(path: &Path, tensors: &BTreeMap<String, Array>, dtype: Dtype) -> Result<(), Error> {
    let tensors = tensors.iter().map(|(name, array)| (&name[..], &array.shape[..], &array.data[..]));
    tensor_file::save(path, tensors, dtype, Some(("format", "pt".to_owned())))
}
