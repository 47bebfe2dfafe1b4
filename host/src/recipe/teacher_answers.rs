//! A teacher's answers on the transfer set.

use super::error::RunError;
use super::progress::{Progress, Watch};
use crate::bert::ops::Precision;
use crate::bert::{Checkpoint, Classifier, Tokens};
use crate::metrics::{balanced, unexplained_variance};
use crate::spread::{one_for_each_thread, spread};
use crate::train::{self, Answers, Encoded};
use crate::{export, quantize};
use goldcrest_edge::model::{self, Bytes, Model};

/// Number of texts on which int8 and f32 are compared, and the largest share of the logits' variance that
/// int8 may fail to explain.
const COMPARED_TEXTS: usize = 256;
const MAX_UNEXPLAINED: f64 = 0.05;

/// Returns a model's answers on texts. Uses int8 and the device's code, ten times as fast as f32, if its
/// logits are about the same, and otherwise `precision`. \[CLS\] vectors are left empty unless asked for: for many
/// texts they take hundreds of megabytes.
pub(super) fn ask(
    checkpoint: &Checkpoint,
    texts: &Encoded,
    vectors: bool,
    precision: Precision,
    watch: Watch,
) -> Result<Answers, RunError> {
    let all = texts.tokens.len();
    let mut done = |done| watch(Progress::Classified { done, all });
    if let Some(answers) = ask_in_int8(checkpoint, texts, vectors, &mut done)? {
        let rows: Vec<usize> = (0..all).step_by(all.div_ceil(COMPARED_TEXTS).max(1)).collect();
        let some = texts.subset(&rows);
        let exact = train::predict(&Classifier::trained(checkpoint.clone())?, &some, &mut |_| ())?;
        let labels = checkpoint.config.num_labels();
        let rounded: Vec<f32> =
            rows.iter().flat_map(|row| &answers.logits[row * labels..][..labels]).copied().collect();
        let [some_exact, rounded] = [&exact, &rounded].map(|logits| balanced(&texts.data, &exact, logits));
        if unexplained_variance(&some_exact, &rounded, labels) <= MAX_UNEXPLAINED {
            return Ok(answers);
        }
        watch(Progress::Note("int8 differs too much from f32, and is not used"));
    }
    let mut done = |done| watch(Progress::Classified { done, all });
    let model = Classifier::trained(checkpoint.clone())?;
    Ok(train::soft_labels(&model, texts, vectors, precision, &mut done)?)
}

/// Answers in int8. `None` if there is no such model, or the fused operator does not support its shape: stock
/// operators are slow and give no \[CLS\] vectors.
fn ask_in_int8(
    checkpoint: &Checkpoint,
    texts: &Encoded,
    vectors: bool,
    done: &mut dyn FnMut(usize),
) -> Result<Option<Answers>, RunError> {
    /// Texts of each thread from one report of progress to the next.
    const BLOCK: usize = 256;
    if checkpoint.config.only_teaches() {
        return Ok(None);
    }
    let (onnx, external) = export::int8(&quantize::quantize(checkpoint, quantize::Bits::Eight)?).split();
    let model =
        Model::load(&onnx, Bytes::from(external), &model::Options::default()).map_err(RunError::Device)?;
    if model.describe().stock.is_some() {
        return Ok(None);
    }
    let labels = checkpoint.config.num_labels();
    let share = |model: &Model| model.share().map_err(RunError::Device);
    let mut models = one_for_each_thread(model, texts.tokens.len(), BLOCK, share)?;
    let answer = |model: &mut Model, texts: &[Tokens], _| {
        let mut answers = Answers::default();
        let mut logits = vec![0.0; labels];
        for text in texts {
            model.run(&text.ids, &text.type_ids, &mut logits).map_err(RunError::Device)?;
            answers.logits.extend(&logits);
            if vectors {
                answers.cls.extend(model.cls().into_iter().flatten());
            }
        }
        Ok::<_, RunError>(answers)
    };
    let mut answers = Answers::default();
    spread(&mut models, &texts.tokens, BLOCK, answer, |blocks| {
        for block in blocks {
            answers.logits.extend(block.logits);
            answers.cls.extend(block.cls);
        }
        done(answers.logits.len() / labels);
    })?;
    Ok(Some(answers))
}
