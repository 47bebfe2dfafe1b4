use super::data_args::Reading;
use goldcrest::bert::{Checkpoint, InputFormat};
use goldcrest::data::{Dataset, Target, Task, Warning};
use goldcrest::recipe::Recipe;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  goldcrest inspect base/all-MiniLM-L6-v2
  goldcrest inspect messages.csv
  goldcrest inspect host/recipes/voice-commands.toml
For bundles: goldcrest-edge inspect --bundle FILE")]
pub struct Args {
    /// For a data file: single-label, multi-label or regression
    #[arg(long)]
    task: Option<Task>,
    /// Labelled texts, a checkpoint folder, or a recipe
    what: PathBuf,
    #[command(flatten)]
    reading: Reading,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let path = &args.what;
    let recipe = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    let said = args.task.is_some() || args.reading.says_how_to_read();
    anyhow::ensure!(
        !(said && (recipe || path.is_dir())),
        "{} is no file of labelled texts: options say how those are read",
        path.display()
    );
    if path.is_dir() {
        return checkpoint(&super::load_checkpoint(path)?);
    }
    if recipe {
        let recipe = Recipe::load(path)?;
        say!("{}", serde_json::to_string_pretty(&recipe)?);
        return Ok(());
    }
    anyhow::ensure!(
        !goldcrest_edge::bundle::is_bundle(path),
        "{0} is a bundle: goldcrest-edge inspect --bundle {0}",
        path.display()
    );
    let data = Dataset::read_to_measure(&[args.reading.source(path)], args.task, None)?;
    say!("{}", data.files[0].reading);
    say!("{} rows, {}{}", data.len(), data.task, if data.is_paired() { ", pairs" } else { "" });
    let numbers = if data.task == Task::Regression { data.width() } else { 0 };
    for number in 0..numbers {
        let numbers = data.examples.iter().filter_map(|example| example.target.numbers().get(number));
        let (mut least, mut most, mut sum) = (f32::INFINITY, f32::NEG_INFINITY, 0.0);
        numbers.for_each(|&x| (least, most, sum) = (least.min(x), most.max(x), sum + f64::from(x)));
        let name = data.labels.name(number as u32).map_or(String::new(), |name| format!("{name}: "));
        say!("{name}{least} to {most}, mean {:.3}", sum / data.len() as f64);
    }
    for (label, count) in data.labels.names().iter().zip(data.class_counts()) {
        say!("{count:>8}  {label}");
    }
    let unlabelled =
        data.examples.iter().filter(|example| example.target == Target::Classes(Vec::new())).count();
    if unlabelled > 0 {
        say!("{unlabelled:>8}  without a label");
    }
    let quantities = data.quantities().filter(|_| args.task.is_none());
    let absent =
        Some(data.absent()).filter(|labels| !labels.is_empty()).map(|labels| Warning::Absent { labels });
    for warning in data.warnings().into_iter().chain(quantities).chain(absent) {
        say!("warning: {warning}");
    }
    if let Err(error) = data.check_variety() {
        say!("warning: {error}");
    }
    Ok(())
}

fn checkpoint(checkpoint: &Checkpoint) -> anyhow::Result<()> {
    let config = &checkpoint.config;
    say!(
        "{} parameters, {} pieces, hidden {}",
        checkpoint.parameters(),
        config.vocab_size,
        config.hidden_size
    );
    if let Some(rank) = config.embedding_rank() {
        say!("word embeddings of rank {rank}");
    }
    for (i, layer) in config.layers().iter().enumerate() {
        let (heads, size, wide) = (layer.heads, layer.head_size, layer.intermediate);
        say!("layer {i}: {heads} heads of {size}, feed-forward {wide}");
    }
    if config.only_teaches() {
        say!("an MPNet: it can teach, and is neither cut nor packed");
    }
    if let Some(InputFormat { max_tokens, pairs, windows }) = config.input {
        let windows = windows.map(|windows| format!(", in up to {} windows", windows.most));
        let what = if pairs { "pairs of texts" } else { "texts" };
        say!("reads {what} of up to {max_tokens} tokens{}", windows.unwrap_or_default());
    }
    let head = checkpoint.has_head();
    match head {
        true => say!("{}: {}", config.task(), config.labels().join(", ")),
        false => say!("no classifier: a pretrained encoder"),
    }
    Ok(())
}
