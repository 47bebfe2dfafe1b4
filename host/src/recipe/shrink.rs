//! Making a smaller base model, for when a large one does not fit or cannot be downloaded.

use super::base;
use super::error::RunError;
use super::lock::{Lock, remove_temporary};
use super::progress::{Progress, Watch};
use super::step::{fingerprint, json};
use crate::bert::{Checkpoint, Classifier, Pooling};
use crate::data::{self, Dataset, Source};
use crate::distill::{
    HiddenTeacher, Imitation, Layers, chosen_layers, cut_layers, piece_counts, prune_vocabulary,
};
use crate::hex;
use crate::train::{self, Encoded, Job, TrainOptions};
use goldcrest_edge::bundle::temporary_writer;
use std::path::{Path, PathBuf};

/// Subfolder for the state of an unfinished base.
const TRAINING: &str = ".goldcrest-training";

/// Fails if the folder holds anything but an unfinished base, some of whose files may already be there.
fn check_empty(folder: &Path) -> Result<(), RunError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(RunError::io(folder))?,
    };
    let unfinished = folder.join(TRAINING).join(train::STATE).exists();
    for entry in entries {
        let name = entry.map_err(RunError::io(folder))?.file_name();
        // a kill while a file is saved leaves a temporary one
        let temporary = name.to_str().filter(|name| temporary_writer(name).is_some());
        let half = temporary.and_then(|name| name.strip_prefix('.'));
        let of = |file: &&str| name == **file || half.is_some_and(|half| half.starts_with(*file));
        let written = unfinished && Checkpoint::FILES.iter().any(of);
        if name != TRAINING && !written {
            let problem = "holds something already: name another folder, or delete it";
            return Err(RunError::io(folder)(std::io::Error::other(problem)));
        }
    }
    Ok(())
}

/// How to make a smaller base.
#[derive(Debug, Clone)]
pub struct Shrink {
    /// Checkpoint folder or bundle of the base.
    pub base: PathBuf,
    /// The folder to write.
    pub output: PathBuf,
    /// Layers to keep. Default: three, evenly spread, or as many as the base has.
    pub layers: Option<Layers>,
    /// The text vectors of the base that the new \[CLS\] vectors learn.
    pub pooling: Pooling,
    /// Number of word pieces to keep.
    pub vocabulary: usize,
    /// Files of texts to learn from; labels are ignored.
    pub texts: Vec<PathBuf>,
    /// How to read them; its path is ignored.
    pub reading: Source,
    /// Longest input in word pieces.
    pub max_tokens: usize,
    /// Training options.
    pub training: TrainOptions,
}

/// Cuts a base down to some of its layers, trains these to reproduce the base's hidden states on unlabelled
/// texts, and prunes the vocabulary to what the texts need most. Weights are written in f16. With
/// [`Pooling::Mean`] the new pooler passes \[CLS\] through: the base's own was not trained with sentence
/// vectors.
///
/// An interrupted run resumes from its last saved state, in the subfolder `.goldcrest-training`, which is
/// removed at the end.
///
/// # Errors
/// [`RunError`], in particular if the output folder holds anything else.
pub fn shrink(shrink: &Shrink, watch: Watch) -> Result<(), RunError> {
    check_empty(&shrink.output)?;
    let teacher = base::load(&shrink.base)?;
    if teacher.config.only_teaches() {
        return Err(crate::bert::Error::OnlyTeaches.into());
    }
    let all = teacher.config.num_hidden_layers;
    let layers = chosen_layers(shrink.layers.as_ref().unwrap_or(&Layers::Count(all.min(3))), all)?;
    let mut texts = Vec::new();
    let reading = Source { unlabelled: true, ..shrink.reading.clone() };
    for path in &shrink.texts {
        texts.extend(data::unlabelled(path, false, &reading)?);
    }
    let mut data = Dataset::unlabelled(texts);
    let mut seen = std::collections::HashSet::new();
    data.examples.retain(|example| seen.insert(example.key()));
    let key = fingerprint(&[
        &base::digest(&shrink.base)?,
        &format!("{layers:?} {:?} {}", shrink.pooling, shrink.max_tokens),
        &json(&shrink.training.that_decide()),
        // the texts rather than the files: the options decide which parts are read
        &hex(&data.digest()),
    ]);
    let encoded = Encoded::new(data, &teacher.tokenizer, shrink.max_tokens)?;
    watch(Progress::Note(&format!("{} texts to learn from; layers {layers:?} stay", encoded.tokens.len())));

    let mut cut = cut_layers(&teacher, &layers)?;
    let original = cut.config.clone();
    cut.config.set_dropout(0.0);
    let mut student = Classifier::new(cut, 0)?;
    let whole = Classifier::new(teacher, 0)?;
    let folder = shrink.output.join(TRAINING);
    let _lock = Lock::on(&folder)?;
    remove_temporary(&shrink.output, 0)?;
    let objective = Imitation(HiddenTeacher::new(&whole, layers).pooling(shrink.pooling));
    let mut job = Job {
        model: &mut student,
        train: &encoded,
        dev: None,
        options: &shrink.training,
        objective: &objective,
        folder: &folder,
        fingerprint: &key,
    };
    train::train(&mut job, &mut |event| watch(Progress::Training(event)))?;

    let counts = piece_counts(&encoded, student.config().vocab_size, |_| 1.0);
    let pruned = prune_vocabulary(&student.checkpoint(), &counts, shrink.vocabulary);
    watch(Progress::Note(&pruned.describe(student.config().vocab_size)));
    let mut base: Checkpoint = pruned.checkpoint;
    base.config.copy_dropout(&original);
    base.drop_head();
    // the remaining layers were not taught to compare
    base.config.compares_pairs = false;
    if shrink.pooling == Pooling::Mean {
        base.pass_through_pooler();
    }
    base.save_f16(&shrink.output)?;
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}
