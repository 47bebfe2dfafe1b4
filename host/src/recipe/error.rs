use crate::data::Task;
use crate::evaluate::Refusal;
use crate::export;
use crate::metrics::Metric;
use crate::train;
use std::path::PathBuf;

/// Why a run fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each holds the error of its room")]
pub enum RunError {
    #[error(transparent)]
    Recipe(#[from] super::RecipeError),
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    #[error(transparent)]
    Bert(#[from] crate::bert::Error),
    #[error(transparent)]
    Train(#[from] train::Error),
    #[error("asking a teacher: {0}")]
    Device(goldcrest_edge::model::Error),
    #[error(transparent)]
    Pack(#[from] export::PackError),
    #[error(transparent)]
    Bundle(#[from] crate::evaluate::BundleError),
    #[error(transparent)]
    Compare(#[from] crate::evaluate::CompareError),
    #[error("{bundle} is not made: {refusal}")]
    Refused { bundle: PathBuf, refusal: Box<Refusal> },
    #[error(
        "{bundle} is not made: pack.vocabulary leaves out word pieces that cost {cost:.2} points of {metric} on dev, more than quantize.max_drop allows ({max_drop:.2}): keep more"
    )]
    Pruned { bundle: PathBuf, cost: f64, metric: Metric, max_drop: f64 },
    #[error("another run works in {}: wait for it, or name another folder", folder.display())]
    Busy { folder: PathBuf },
    #[error("{path}: {cause}")]
    Io { path: PathBuf, cause: std::io::Error },
    #[error(
        "{path} is no bundle and no folder with config.json: run scripts/fetch-base.sh or the recipe that makes it, or name another checkpoint"
    )]
    NoBase { path: PathBuf },
    #[error("train.epochs is 0, and base.checkpoint {path} has no classifier for these labels: let it train")]
    NoHead { path: PathBuf },
    #[error("distill.other_teachers {path} has no classifier: train it first")]
    Headless { path: PathBuf },
    #[error(
        "{path}, which the recipe reads, lies where the run writes into {output} and would be lost: name another `output`, or copy it elsewhere"
    )]
    Overwritten { path: PathBuf, output: PathBuf },
    #[error(
        "{path} is a model that no run has made, and would be overwritten: name another `output`, or move it"
    )]
    Foreign { path: PathBuf },
    #[error(
        "distill.other_teachers {path}: has to be trained for the same task, {task}, with the labels {labels} in this order"
    )]
    OtherLabels { path: PathBuf, task: Task, labels: String },
    #[error(transparent)]
    Base(#[from] export::ReadError),
    #[error(
        "there is nothing to distil: the recipe has no [distill] (of labelled texts, --student names a size)"
    )]
    NoStudent,
    #[error("task.metric is {metric}, which a {task} task does not have")]
    Metric { metric: Metric, task: Task },
    #[error("{key} {problem}")]
    Unsuitable { key: &'static str, problem: String },
    #[error(
        "nothing is left to {what}: all texts are also in {}; give other data, or `remove_overlap = false` under [data]", held_out.display()
    )]
    NothingLeft { what: &'static str, held_out: PathBuf },
    #[error("a bundle of this recipe would be refused: {0}")]
    Manifest(goldcrest_edge::bundle::ManifestError),
    #[error("distill.student {0}")]
    Size(String),
    #[error("golden_messages {path}: {problem}")]
    Golden { path: PathBuf, problem: String },
}

impl RunError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| RunError::Io { path, cause }
    }
}
