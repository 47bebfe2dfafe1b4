use super::ops::Bits;
use super::{Array, Checkpoint, Config, Error, TokenizerFiles, WORD_EMBEDDINGS};
use std::collections::BTreeMap;

/// `BertForSequenceClassification`: encoder, pooler on \[CLS\], dropout, linear head.
///
/// The last layer computes only the \[CLS\] rows: nothing else reaches the logits.
#[derive(Debug)]
pub struct Classifier {
    config: Config,
    tokenizer: TokenizerFiles,
    weights: BTreeMap<String, Array>,
    rounding: Option<Rounding>,
}

/// What the forward pass rounds to integers, as the device does. Gradients pass straight through the rounding
/// (straight-through estimator, Bengio et al., arXiv 1308.3432).
#[derive(Debug, Clone, PartialEq)]
pub struct Rounding {
    /// Bits of the word embeddings.
    pub embeddings: Bits,
    /// Rounds only the matrix with this tensor name; all matrices if `None`.
    pub only: Option<String>,
}

impl Classifier {
    /// Builds a model from a checkpoint. Missing weights (such as the head of a pretrained encoder) are
    /// initialised from `seed` as in Transformers: normal with standard deviation 0.02, biases 0, norms 1.
    ///
    /// # Errors
    /// If the configuration cannot be run, or a weight has another shape than it says.
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
            weights.insert(name, array);
        }
        Ok(Self { config, tokenizer, weights, rounding: None })
    }

    /// Builds a trained model, without any weight of its own.
    ///
    /// # Errors
    /// If a weight is missing, or has another shape than the configuration says.
    pub fn trained(checkpoint: Checkpoint) -> Result<Self, Error> {
        let missing = |(name, _): &(String, _)| !checkpoint.tensors.contains_key(name);
        if let Some((name, _)) = Checkpoint::shapes(&checkpoint.config).into_iter().find(missing) {
            return Err(Error::Missing { name, hint: "train a classifier first" });
        }
        Self::new(checkpoint, 0)
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the vocabulary and tokenizer settings.
    pub fn tokenizer(&self) -> &TokenizerFiles {
        &self.tokenizer
    }

    /// Returns the weights by name, in native shapes.
    pub fn weights(&self) -> &BTreeMap<String, Array> {
        &self.weights
    }

    /// Returns the weights for modification.
    pub fn weights_mut(&mut self) -> &mut BTreeMap<String, Array> {
        &mut self.weights
    }

    /// Copies the model into a checkpoint.
    pub fn checkpoint(&self) -> Checkpoint {
        let (config, tensors) = (self.config.clone(), self.weights.clone());
        Checkpoint { config, tensors, tokenizer: self.tokenizer.clone() }
    }

    /// Overwrites the weights with those of a checkpoint of the same shape.
    ///
    /// # Errors
    /// If a weight is missing or has another shape; nothing is overwritten then.
    pub fn set(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        for (name, weight) in &self.weights {
            let Some(array) = checkpoint.tensors.get(name) else {
                return Err(Error::Missing { name: name.clone(), hint: "it is of another model" });
            };
            if array.shape != weight.shape {
                let (found, wanted) = (array.shape.clone(), weight.shape.clone());
                return Err(Error::Shape { name: name.clone(), found, wanted });
            }
        }
        for (name, weight) in &mut self.weights {
            weight.data.copy_from_slice(&checkpoint.tensors[name].data);
        }
        Ok(())
    }

    /// Sets what later forward passes round.
    pub fn round(&mut self, rounding: Option<Rounding>) {
        self.rounding = rounding;
    }

    /// Returns the number of bits that this matrix is rounded to, if any.
    pub(super) fn bits(&self, name: &str) -> Option<Bits> {
        let rounding = self.rounding.as_ref().filter(|r| r.only.as_ref().is_none_or(|only| only == name))?;
        Some(bits_of(name, &self.weights[name], rounding.embeddings))
    }

    /// Returns the values of one weight.
    pub(super) fn weight(&self, name: &str) -> &[f32] {
        &self.weights[name].data
    }
}

/// Returns the number of bits for a matrix, given that of the word embeddings. Two 4-bit values share a byte,
/// so word embeddings of odd width keep 8 bits.
pub(crate) fn bits_of(name: &str, matrix: &Array, embeddings: Bits) -> Bits {
    if name == WORD_EMBEDDINGS && matrix.shape[1].is_multiple_of(2) { embeddings } else { Bits::Eight }
}

/// Hashes a tensor name (FNV-1a) so that every tensor gets its own random stream.
fn fingerprint(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// Draws normal values by the Box-Muller method.
pub(crate) fn normal(shape: &[usize], deviation: f64, seed: u64) -> Array {
    let mut random = crate::data::SplitMix::new(seed, 0);
    let mut uniform = || ((random.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let mut value = || deviation * (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    let data = (0..shape.iter().product()).map(|_| value() as f32).collect();
    Array { shape: shape.to_vec(), data }
}
