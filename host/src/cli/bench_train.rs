use goldcrest::bert::ops::Precision;
use goldcrest::bert::{
    Batch, Checkpoint, Classifier, Gradients, Mode, OutputGradient, Tape, TokenizerFiles, Tokens, ops,
};
use goldcrest::data::SplitMix;
use goldcrest::train::AdamW;
use std::path::PathBuf;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    /// Timed steps, after two to warm up
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// Start from this checkpoint instead of random weights of MiniLM-L6's shape
    #[arg(long)]
    base: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=512))]
    tokens: u16,
    /// Multiply in f32 even if the processor has AMX for bf16
    #[arg(long)]
    f32: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Times forward, backward, clipping and AdamW on random ids, with dropout.
pub fn run(args: &Args) -> anyhow::Result<()> {
    super::start_threads(Some(args.threads))?;
    let mut model = Classifier::new(start(args)?, 1)?;
    let vocabulary = model.config().vocab_size;
    let [steps, batch, tokens] = [args.steps, args.batch, args.tokens].map(usize::from);
    let precision = if args.f32 { Precision::F32 } else { Precision::fastest() };
    let mut random = SplitMix::new(1, 0);
    let mut adam = AdamW::default();
    let (mut tape, mut gradients) = (Tape::default(), Gradients::new(model.weights()));
    let mut times = Vec::new();
    for step in 0..steps + 2 {
        let mut text = || Tokens {
            ids: (0..tokens).map(|_| random.below(vocabulary) as u32).collect(),
            type_ids: vec![0; tokens],
        };
        let texts: Vec<Tokens> = (0..batch).map(|_| text()).collect();
        let classes = (0..batch).map(|i| (i % 2) as u32).collect();
        let begin = Instant::now();
        let inputs = Batch::new(texts.iter(), 0);
        let loss = ops::Loss::CrossEntropy { classes, smoothing: 0.0, weights: None, focal: 0.0 };
        // as a task of the thread pool, like an update in training
        rayon::scope(|_| -> anyhow::Result<()> {
            let output = model.forward(&inputs, Mode::Train { seed: step as u32, precision }, &mut tape)?;
            let (_, logits) = loss.value_and_gradient(&output.logits, batch);
            gradients.clear();
            model.backward(&mut tape, &OutputGradient { logits, ..Default::default() }, &mut gradients);
            let clip = 1f64.min(1.0 / (gradients.norm() + 1e-6));
            adam.update(model.weights_mut(), &gradients, |_| 1e-5, 0.01, clip);
            Ok(())
        })?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let mut times = times.split_off(2);
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    if args.json {
        say!(
            "{}",
            serde_json::json!({"ms_per_step": median, "minimum_ms": times[0], "threads": args.threads, "precision": precision.name()})
        );
    } else {
        say!("{median:.1} ms a step, at least {:.1}", times[0]);
    }
    Ok(())
}

fn start(args: &Args) -> anyhow::Result<Checkpoint> {
    if let Some(path) = &args.base {
        return Ok(Checkpoint::load(path)?);
    }
    let config = serde_json::from_value(serde_json::json!({
        "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
        "intermediate_size": 1536,
    }))?;
    let tokenizer = TokenizerFiles {
        vocab: String::new(),
        lowercase: true,
        strip_accents: None,
        chinese_chars: true,
        max_length: 512,
    };
    Ok(Checkpoint { config, tensors: Default::default(), tokenizer })
}
