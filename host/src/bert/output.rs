use super::ops::Precision;

/// The purpose of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Inference: no dropout, nothing is kept for backward.
    #[default]
    Evaluate,
    /// Inference for soft labels, in any precision.
    Answer {
        /// Precision of the products of linear layers.
        precision: Precision,
    },
    /// Gradients, without dropout.
    Differentiate,
    /// Gradients, with dropout.
    Train {
        /// Seed of the dropout masks.
        seed: u32,
        /// Precision of the products of linear layers.
        precision: Precision,
    },
}

/// How one vector represents a whole text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The \[CLS\] vector after the last layer.
    Cls,
    /// The mean of the token vectors after the last layer, special tokens included. Sentence encoders such as
    /// all-MiniLM-L6-v2 were trained for this (Reimers and Gurevych, arXiv 1908.10084).
    Mean,
}

/// The result of a forward pass, row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Output {
    /// [texts, labels]
    pub logits: Vec<f32>,
    /// \[CLS\] vectors after the last layer: [texts, hidden].
    pub cls: Vec<f32>,
    /// Hidden states after the embeddings and after each layer: [texts * sequence, hidden]. The last layer is
    /// included only for [`Pooling::Mean`]; otherwise only its \[CLS\] rows are computed.
    pub hidden: Vec<Vec<f32>>,
}

/// The gradient of a loss with respect to an [`Output`], in the same shapes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutputGradient {
    /// Gradient of the logits.
    pub logits: Vec<f32>,
    /// Gradient that reaches the \[CLS\] vectors directly, not through the logits.
    pub cls: Option<Vec<f32>>,
    /// Gradients that reach the hidden states directly; trailing ones may be left out.
    pub hidden: Vec<Option<Vec<f32>>>,
}

impl OutputGradient {
    /// Multiplies all gradients by `factor`.
    pub fn scale(&mut self, factor: f32) {
        let all = [&mut self.logits].into_iter().chain(&mut self.cls).chain(self.hidden.iter_mut().flatten());
        all.flatten().for_each(|g| *g *= factor);
    }
}
