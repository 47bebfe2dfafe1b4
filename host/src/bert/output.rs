/// What a forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Answers; no dropout.
    #[default]
    Evaluate,
    /// Gradients without dropout.
    Differentiate,
    /// Gradients with dropout.
    Train {
        /// Names the masks of dropout.
        seed: u32,
    },
}

/// What a model says about a text as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Its \[CLS\] vector after the last layer.
    Cls,
    /// The mean of its tokens' vectors after the last layer, special tokens included: what sentence encoders such as
    /// all-MiniLM-L6-v2 were trained for (Reimers and Gurevych, arXiv 1908.10084).
    Mean,
}

/// What a forward pass gives, row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Output {
    /// [texts, labels]
    pub logits: Vec<f32>,
    /// The first token after the last layer: [texts, hidden].
    pub cls: Vec<f32>,
    /// After the embeddings and after each layer but the last, of which all tokens are computed for their mean
    /// alone ([`Pooling::Mean`]): [texts * sequence, hidden].
    pub hidden: Vec<Vec<f32>>,
}

/// The gradient of a loss by an [`Output`], in the same shapes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutputGradient {
    /// By the logits.
    pub logits: Vec<f32>,
    /// By the \[CLS\] vectors themselves, beside what comes through the logits.
    pub cls: Option<Vec<f32>>,
    /// By the hidden states themselves; those at the end may be left out.
    pub hidden: Vec<Option<Vec<f32>>>,
}

impl OutputGradient {
    /// Multiplies everything.
    pub fn scale(&mut self, factor: f32) {
        let all = [&mut self.logits].into_iter().chain(&mut self.cls).chain(self.hidden.iter_mut().flatten());
        all.flatten().for_each(|g| *g *= factor);
    }
}
