use super::Distill;
use crate::bert::ops::{Loss, loss, with_values};
use crate::bert::{Batch, Classifier, Output};
use crate::data::Task;
use crate::train::{Encoded, Error, Objective, Supervised};
use candle_core::{D, Tensor};

/// Learning from a teacher: its softened outputs, a share of gold labels, its hidden states and the relations between
/// the texts of a batch.
///
/// Soft labels: Hinton et al., arXiv 1503.02531. Hidden states: mean squared difference between each student layer and
/// the teacher's layer it was made of (Jiao et al., arXiv 1909.10351, without the projection: widths must agree).
/// Relations: mean squared difference of the cosine similarities of the texts' [CLS] vectors (after Park et al., arXiv
/// 1904.05068); widths may differ.
pub struct FromTeacher<'a> {
    teacher: &'a Classifier,
    hard: Supervised,
    options: Distill,
    /// The teacher's layer for each student layer.
    layers: Vec<usize>,
    /// The teacher's logits for every training row: [rows, labels].
    logits: Vec<f32>,
}

impl<'a> FromTeacher<'a> {
    /// `layers[i]` is the teacher's layer that student layer `i` is compared with; `logits` are the teacher's for all
    /// training rows, from [`crate::train::predict`].
    pub fn new(
        teacher: &'a Classifier,
        hard: Supervised,
        options: Distill,
        layers: Vec<usize>,
        logits: Vec<f32>,
    ) -> Self {
        Self { teacher, hard, options, layers, logits }
    }

    fn needs_teacher(&self) -> bool {
        self.options.hidden_weight > 0.0 || self.options.relation_weight > 0.0
    }

    fn soft(&self, task: Task, rows: &[u32], width: usize) -> Loss {
        let teacher: Vec<f32> =
            rows.iter().flat_map(|r| &self.logits[*r as usize * width..][..width]).copied().collect();
        match task {
            Task::SingleLabel => Loss::Distillation { teacher, temperature: self.options.temperature },
            Task::MultiLabel => {
                Loss::Binary { targets: teacher.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect() }
            }
            Task::Regression => Loss::SquaredError { targets: teacher },
        }
    }

    /// Mean squared difference over all layers.
    fn hidden(&self, batch: &Batch, student: &Output, teacher: &Output) -> candle_core::Result<Tensor> {
        let tokens = batch.token_weights()?;
        let count = with_values(&tokens, |w| w.iter().sum::<f32>())?;
        let width = student.cls.dim(D::Minus1)? as f64;
        let mut total =
            squared_difference(&student.cls, &teacher.cls, None)?.affine(1.0 / batch.texts() as f64, 0.0)?;
        for (i, from) in self.layers.iter().enumerate().take(self.layers.len() - 1) {
            // hidden[i + 1] is what layer i gives
            let Some(target) = teacher.hidden.get(from + 1) else { continue };
            let difference = squared_difference(&student.hidden[i + 1], target, Some(&tokens))?;
            total = (total + difference.affine(1.0 / f64::from(count), 0.0)?)?;
        }
        total / (width * self.layers.len() as f64)
    }
}

fn squared_difference(a: &Tensor, b: &Tensor, row_weights: Option<&Tensor>) -> candle_core::Result<Tensor> {
    let squares = (a - b.detach())?.sqr()?.sum_keepdim(D::Minus1)?;
    match row_weights {
        Some(w) => (squares * w)?.sum_all(),
        None => squares.sum_all(),
    }
}

/// Cosine similarities of all pairs of rows: [rows, rows].
fn similarities(x: &Tensor) -> candle_core::Result<Tensor> {
    let norms = (x.sqr()?.sum_keepdim(1)? + 1e-12)?.sqrt()?;
    let unit = x.broadcast_div(&norms)?;
    unit.matmul(&unit.t()?)
}

impl Objective for FromTeacher<'_> {
    fn loss(&self, encoded: &Encoded, rows: &[u32], batch: &Batch, output: &Output) -> Result<Tensor, Error> {
        let o = &self.options;
        let (_, width) = output.logits.dims2()?;
        let mut total =
            (loss(&output.logits, self.soft(encoded.data.task, rows, width))? * (1.0 - o.alpha_hard))?;
        if o.alpha_hard > 0.0 {
            total =
                (total + (loss(&output.logits, self.hard.of_rows(&encoded.data, rows))? * o.alpha_hard)?)?;
        }
        if self.needs_teacher() {
            let teacher = self.teacher.forward(batch, None)?;
            if o.hidden_weight > 0.0 && output.cls.dims() == teacher.cls.dims() && !self.layers.is_empty() {
                total = (total + (self.hidden(batch, output, &teacher)? * o.hidden_weight)?)?;
            }
            if o.relation_weight > 0.0 {
                let difference = (similarities(&output.cls)? - similarities(&teacher.cls)?.detach())?;
                total = (total + (difference.sqr()?.mean_all()? * o.relation_weight)?)?;
            }
        }
        Ok(total)
    }
}
