use super::Distill;
use crate::bert::ops::{Loss, Matrix, multiply, unit_rows};
use crate::bert::{Batch, Classifier, Output, OutputGradient, Pooling, Tape};
use crate::data::Task;
use crate::train::{Answers, Encoded, Error, Objective, Supervised, TargetScale};
use std::sync::{Mutex, PoisonError};

/// The distillation loss: the teacher's soft labels, a share of gold labels, its \[CLS\] vectors, its hidden
/// states, and the relations between the texts of a batch.
///
/// Soft labels: Hinton et al., arXiv 1503.02531. Hidden states: mean squared difference between each student
/// layer and the teacher's layer that it was cut from (Jiao et al., arXiv 1909.10351, without the projection:
/// widths must agree). Relations: mean squared difference of the cosine similarities between the texts'
/// \[CLS\] vectors (after Park et al., arXiv 1904.05068); widths may differ.
pub struct FromTeacher<'a> {
    /// The teachers' logits and vectors for every text.
    pub answers: &'a Answers,
    /// The loss on gold labels.
    pub hard: Supervised,
    /// Number of texts with gold labels; they come first.
    pub gold: usize,
    /// Loss weights and temperature.
    pub options: &'a Distill,
    /// The teacher of the hidden states, if they are learned.
    pub teacher: Option<HiddenTeacher<'a>>,
}

/// A teacher whose hidden states are learned; it must use the student's tokenizer.
pub struct HiddenTeacher<'a> {
    model: &'a Classifier,
    layers: Vec<usize>,
    pooling: Pooling,
    tape: Mutex<Tape>,
}

impl<'a> HiddenTeacher<'a> {
    /// Pairs a model with the layer that each of the student's layers learns from.
    pub fn new(model: &'a Classifier, layers: Vec<usize>) -> Self {
        Self { model, layers, pooling: Pooling::Cls, tape: Mutex::default() }
    }

    /// Sets which text vector is learned, instead of \[CLS\].
    pub fn pooling(self, pooling: Pooling) -> Self {
        Self { pooling, ..self }
    }
}

/// A running sum of losses and their gradients.
struct Sum {
    loss: f64,
    gradient: OutputGradient,
}

impl Sum {
    /// Adds to the gradient of the \[CLS\] vectors.
    fn add_cls(&mut self, gradient: impl Iterator<Item = f32>) {
        match &mut self.gradient.cls {
            Some(sum) => sum.iter_mut().zip(gradient).for_each(|(s, g)| *s += g),
            None => self.gradient.cls = Some(gradient.collect()),
        }
    }
}

/// Returns the loss against a teacher's logits [texts * labels]; the temperature applies to single-label
/// tasks only.
pub(super) fn soft_loss(task: Task, teacher: Vec<f32>, temperature: f64) -> Loss {
    match task {
        Task::SingleLabel => Loss::Distillation { teacher, temperature },
        Task::MultiLabel => Loss::Binary {
            targets: teacher.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
            weights: None,
            focal: 0.0,
        },
        Task::Regression => Loss::SquaredError { targets: teacher },
    }
}

impl FromTeacher<'_> {
    /// Adds the gold loss on the rows that have gold labels, weighted by their share of the batch.
    fn add_gold(&self, encoded: &Encoded, rows: &[u32], logits: &[f32], sum: &mut Sum) {
        let with_gold: Vec<usize> = (0..rows.len()).filter(|i| (rows[*i] as usize) < self.gold).collect();
        if with_gold.is_empty() {
            return;
        }
        let width = logits.len() / rows.len();
        let gold: Vec<u32> = with_gold.iter().map(|i| rows[*i]).collect();
        let logits: Vec<f32> =
            with_gold.iter().flat_map(|i| &logits[i * width..][..width]).copied().collect();
        let (loss, gradient) =
            self.hard.of_rows(&encoded.data, &gold).value_and_gradient(&logits, gold.len());
        let weight = self.options.alpha_hard * gold.len() as f64 / rows.len() as f64;
        sum.loss += weight * loss;
        for (i, g) in with_gold.iter().zip(gradient.chunks_exact(width)) {
            let row = &mut sum.gradient.logits[i * width..][..width];
            row.iter_mut().zip(g).for_each(|(sum, g)| *sum += weight as f32 * g);
        }
    }
}

impl HiddenTeacher<'_> {
    /// Adds `weight` times the mean squared difference over all layers but the last (which computes only
    /// \[CLS\] rows), and returns the teacher's text vectors.
    fn add_hidden(
        &self,
        batch: &Batch,
        student: &Output,
        weight: f64,
        sum: &mut Sum,
    ) -> Result<Vec<f32>, Error> {
        let HiddenTeacher { model, layers, pooling, tape } = self;
        let lock = || tape.lock().unwrap_or_else(PoisonError::into_inner);
        // not locked meanwhile: this thread may take up other parallel work
        let mut tape = std::mem::take(&mut *lock());
        let vectors = model.sentence_vectors(batch, *pooling, &mut tape)?;
        let teacher = tape.output();
        let tokens: Vec<bool> = batch.tokens().collect();
        let width = student.cls.len() / batch.texts();
        let values = tokens.iter().filter(|t| **t).count() * width;
        let weight = weight / values as f64;
        sum.gradient.hidden.resize(student.hidden.len(), None);
        for (i, from) in layers.iter().enumerate().take(layers.len().saturating_sub(1)) {
            // hidden[i + 1] is the output of layer i
            let Some(target) = teacher.hidden.get(from + 1) else { continue };
            let mut gradient = vec![0.0; target.len()];
            let rows = student.hidden[i + 1].chunks_exact(width).zip(target.chunks_exact(width));
            for (((s, t), g), _) in
                rows.zip(gradient.chunks_exact_mut(width)).zip(&tokens).filter(|(_, token)| **token)
            {
                g.iter_mut().zip(s.iter().zip(t)).for_each(|(g, (s, t))| *g = s - t);
                sum.loss += weight * g.iter().map(|d| f64::from(d * d)).sum::<f64>();
                g.iter_mut().for_each(|g| *g *= 2.0 * weight as f32);
            }
            sum.gradient.hidden[i + 1] = Some(gradient);
        }
        *lock() = tape;
        Ok(vectors)
    }
}

/// The loss for making a base model: learns a teacher's hidden states and text vectors (the latter as \[CLS\]
/// vectors), and no task.
pub struct Imitation<'a>(pub HiddenTeacher<'a>);

impl Objective for Imitation<'_> {
    fn loss(
        &self,
        _: &Encoded,
        _: &[u32],
        batch: &Batch,
        output: &Output,
    ) -> Result<(f64, OutputGradient), Error> {
        let logits = vec![0.0; output.logits.len()];
        let mut sum = Sum { loss: 0.0, gradient: OutputGradient { logits, ..Default::default() } };
        let teacher = self.0.add_hidden(batch, output, 1.0, &mut sum)?;
        let (loss, gradient) = squared_difference(&output.cls, &teacher, 1.0);
        sum.loss += loss;
        sum.add_cls(gradient);
        Ok((sum.loss, sum.gradient))
    }

    fn needs_labels(&self) -> bool {
        false
    }
}

/// Returns some rows of a matrix of this width.
fn gather(values: &[f32], rows: &[u32], width: usize) -> Vec<f32> {
    rows.iter().flat_map(|r| &values[*r as usize * width..][..width]).copied().collect()
}

/// Returns the mean of `weight * (a - b)²` and its gradient with respect to a.
fn squared_difference<'a>(a: &'a [f32], b: &'a [f32], weight: f64) -> (f64, impl Iterator<Item = f32> + 'a) {
    let share = weight / a.len() as f64;
    let differences = move || a.iter().zip(b).map(|(a, b)| a - b);
    let loss = differences().map(|d| f64::from(d * d)).sum::<f64>() * share;
    (loss, differences().map(move |d| d * (2.0 * share) as f32))
}

/// Returns the cosine similarities between all unit rows: [rows, rows].
fn similarities(unit: &[f32], rows: usize) -> Vec<f32> {
    let (width, mut out) = (unit.len() / rows, vec![0.0; rows * rows]);
    let unit = Matrix::new(unit, rows, width, width);
    multiply(&mut out, rows, unit, unit.t(), false, 1);
    out
}

/// Returns `weight` times the mean squared difference between the cosine similarities of the rows of
/// `student` and those of `teacher`, and its gradient with respect to `student` [rows, width].
fn relations(student: &[f32], teacher: &[f32], rows: usize, weight: f64) -> (f64, Vec<f32>) {
    let width = student.len() / rows;
    let (unit, inverse) = unit_rows(student, rows);
    let (found, wanted) = (similarities(&unit, rows), similarities(&unit_rows(teacher, rows).0, rows));
    let (loss, gradient) = squared_difference(&found, &wanted, weight);
    // each similarity occurs twice in the symmetric matrix
    let gradient: Vec<f32> = gradient.map(|g| 2.0 * g).collect();
    let mut by_unit = vec![0.0; student.len()];
    let (by_similarity, units) =
        (Matrix::new(&gradient, rows, rows, rows), Matrix::new(&unit, rows, width, width));
    multiply(&mut by_unit, width, by_similarity, units, false, 1);
    for ((g, unit), inverse) in by_unit.chunks_exact_mut(width).zip(unit.chunks_exact(width)).zip(inverse) {
        // the component along the row only changes its length
        let along: f32 = g.iter().zip(unit).map(|(g, u)| g * u).sum();
        g.iter_mut().zip(unit).for_each(|(g, u)| *g = (*g - u * along) * inverse);
    }
    (loss, by_unit)
}

impl Objective for FromTeacher<'_> {
    fn loss(
        &self,
        encoded: &Encoded,
        rows: &[u32],
        batch: &Batch,
        output: &Output,
    ) -> Result<(f64, OutputGradient), Error> {
        let o = self.options;
        let width = output.logits.len() / rows.len();
        let mut teacher = gather(&self.answers.logits, rows, width);
        self.target_scale().standardise(&mut teacher);
        let soft = soft_loss(encoded.data.task, teacher, o.temperature);
        let (loss, logits) = soft.value_and_gradient(&output.logits, rows.len());
        let mut sum = Sum { loss, gradient: OutputGradient { logits, ..Default::default() } };
        sum.loss *= 1.0 - o.alpha_hard;
        sum.gradient.scale(1.0 - o.alpha_hard as f32);
        if o.alpha_hard > 0.0 {
            self.add_gold(encoded, rows, &output.logits, &mut sum);
        }
        let width = self.answers.cls.len() / encoded.tokens.len().max(1);
        let same_width = output.cls.len() == rows.len() * width;
        let cls_weight = if same_width { o.cls_weight() } else { 0.0 };
        if cls_weight > 0.0 || o.relation_weight > 0.0 {
            let teacher = gather(&self.answers.cls, rows, width);
            if cls_weight > 0.0 {
                let (loss, gradient) = squared_difference(&output.cls, &teacher, cls_weight);
                sum.loss += loss;
                sum.add_cls(gradient);
            }
            if o.relation_weight > 0.0 {
                let (loss, gradient) = relations(&output.cls, &teacher, rows.len(), o.relation_weight);
                sum.loss += loss;
                sum.add_cls(gradient.into_iter());
            }
        }
        if let Some(teacher) = self.teacher.as_ref().filter(|_| o.hidden_weight > 0.0) {
            teacher.add_hidden(batch, output, o.hidden_weight, &mut sum)?;
        }
        Ok((sum.loss, sum.gradient))
    }

    fn target_scale(&self) -> TargetScale {
        self.hard.target_scale()
    }
}
