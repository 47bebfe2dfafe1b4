use super::Distill;
use crate::bert::ops::{Loss, loss, with_values};
use crate::bert::{Batch, Classifier, Output};
use crate::data::Task;
use crate::train::{Answers, Encoded, Error, Objective, Supervised};
use candle_core::{D, Device, Tensor};

/// Learning from a teacher: its softened outputs, a share of gold labels, its \[CLS\] vectors, its hidden states, and the
/// relations between the texts of a batch.
///
/// Soft labels: Hinton et al., arXiv 1503.02531. Hidden states: mean squared difference between each student layer and
/// the teacher's layer it was made of (Jiao et al., arXiv 1909.10351, without the projection: widths must agree).
/// Relations: mean squared difference of the cosine similarities of the texts' \[CLS\] vectors (after Park et al., arXiv
/// 1904.05068); widths may differ.
pub struct FromTeacher<'a> {
    /// What the teachers say about every text.
    pub answers: &'a Answers,
    /// The loss on gold labels.
    pub hard: Supervised,
    /// The first so many texts have them.
    pub gold: usize,
    /// Weights and temperature.
    pub options: &'a Distill,
    /// For hidden states, with the teacher's layer for each of the student's; both read the same pieces.
    pub teacher: Option<(&'a Classifier, Vec<usize>)>,
}

impl FromTeacher<'_> {
    fn soft(&self, task: Task, rows: &[u32], width: usize) -> Loss {
        let teacher = gather(&self.answers.logits, rows, width);
        match task {
            Task::SingleLabel => Loss::Distillation { teacher, temperature: self.options.temperature },
            Task::MultiLabel => {
                Loss::Binary { targets: teacher.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect() }
            }
            Task::Regression => Loss::SquaredError { targets: teacher },
        }
    }

    /// The loss on those rows that have a gold label, weighted by how many they are; `None` where none has.
    fn on_gold(
        &self,
        encoded: &Encoded,
        rows: &[u32],
        logits: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let with_gold = |row: &&u32| (**row as usize) < self.gold;
        let gold: Vec<u32> = rows.iter().filter(with_gold).copied().collect();
        if gold.is_empty() {
            return Ok(None);
        }
        let share = gold.len() as f64 / rows.len() as f64;
        let at: Vec<u32> = (0..).zip(rows).filter(|(_, row)| with_gold(row)).map(|(i, _)| i).collect();
        let at = Tensor::from_vec(at, gold.len(), &Device::Cpu)?;
        let logits = if gold.len() == rows.len() { logits.clone() } else { logits.index_select(&at, 0)? };
        Ok(Some((loss(&logits, self.hard.of_rows(&encoded.data, &gold))? * share)?))
    }

    /// Mean squared difference over all layers but the last, whose \[CLS\] rows have a weight of their own.
    fn hidden(&self, batch: &Batch, student: &Output) -> Result<Option<Tensor>, Error> {
        let Some((teacher, layers)) = &self.teacher else { return Ok(None) };
        let teacher = teacher.forward(batch, None)?;
        let tokens = batch.token_weights()?;
        let count = with_values(&tokens, |w| w.iter().sum::<f32>())?;
        let width = student.cls.dim(D::Minus1)? as f64;
        let mut total: Option<Tensor> = None;
        for (i, from) in layers.iter().enumerate().take(layers.len().saturating_sub(1)) {
            // hidden[i + 1] is what layer i gives
            let Some(target) = teacher.hidden.get(from + 1) else { continue };
            let squares = (&student.hidden[i + 1] - target.detach())?.sqr()?.sum_keepdim(D::Minus1)?;
            let sum = (squares * &tokens)?.sum_all()?.affine(1.0 / (f64::from(count) * width), 0.0)?;
            total = Some(match total {
                Some(total) => (total + sum)?,
                None => sum,
            });
        }
        Ok(total)
    }
}

/// Some rows of a matrix of this width.
fn gather(values: &[f32], rows: &[u32], width: usize) -> Vec<f32> {
    rows.iter().flat_map(|r| &values[*r as usize * width..][..width]).copied().collect()
}

/// Cosine similarities of all pairs of rows: [rows, rows].
fn similarities(x: &Tensor) -> candle_core::Result<Tensor> {
    let norms = (x.sqr()?.sum_keepdim(1)? + 1e-12)?.sqrt()?;
    let unit = x.broadcast_div(&norms)?;
    unit.matmul(&unit.t()?)
}

impl Objective for FromTeacher<'_> {
    fn loss(&self, encoded: &Encoded, rows: &[u32], batch: &Batch, output: &Output) -> Result<Tensor, Error> {
        let o = self.options;
        let (_, width) = output.logits.dims2()?;
        let mut total =
            (loss(&output.logits, self.soft(encoded.data.task, rows, width))? * (1.0 - o.alpha_hard))?;
        if o.alpha_hard > 0.0
            && let Some(gold) = self.on_gold(encoded, rows, &output.logits)?
        {
            total = (total + (gold * o.alpha_hard)?)?;
        }
        let width = self.answers.cls.len() / encoded.tokens.len().max(1);
        let same_width = output.cls.dim(D::Minus1)? == width;
        if (o.cls_weight > 0.0 && same_width) || o.relation_weight > 0.0 {
            let teacher =
                Tensor::from_vec(gather(&self.answers.cls, rows, width), (rows.len(), width), &Device::Cpu)?;
            if o.cls_weight > 0.0 && same_width {
                total = (total + ((&output.cls - &teacher)?.sqr()?.mean_all()? * o.cls_weight)?)?;
            }
            if o.relation_weight > 0.0 {
                let difference = (similarities(&output.cls)? - similarities(&teacher)?)?;
                total = (total + (difference.sqr()?.mean_all()? * o.relation_weight)?)?;
            }
        }
        if o.hidden_weight > 0.0
            && let Some(hidden) = self.hidden(batch, output)?
        {
            total = (total + (hidden * o.hidden_weight)?)?;
        }
        Ok(total)
    }
}
