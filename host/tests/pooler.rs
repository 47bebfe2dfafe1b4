//! Where the pooler starts: a sentence encoder leaves one that hardly anything gets through.

mod support;

use goldcrest::bert::{Batch, Checkpoint, Classifier, Mode, Tape, Tokens};
use goldcrest::recipe::{Progress, Recipe, Until, run};
use support::{SHAPES, checkpoint};

/// An encoder without a head, its pooler scaled.
fn base(pooler: f32) -> Checkpoint {
    let shape = &SHAPES[2];
    let mut model = checkpoint(shape, 7);
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
    let pieces = (special.len()..shape.vocabulary).map(|i| format!("piece{i}"));
    model.tokenizer.vocab = special.into_iter().chain(pieces).map(|piece| piece + "\n").collect();
    model.tensors.retain(|name, _| !name.starts_with("classifier."));
    let weight = &mut model.tensors.get_mut("bert.pooler.dense.weight").unwrap().data;
    let deviation = (weight.iter().map(|x| x * x).sum::<f32>() / weight.len() as f32).sqrt();
    weight.iter_mut().for_each(|x| *x *= pooler / deviation);
    model
}

#[test]
fn a_pooler_that_passes_through_leaves_cls_to_the_head() {
    let mut model = base(0.02);
    model.pass_through_pooler();
    let model = Classifier::new(model, 3).unwrap();
    let tokens = Tokens { ids: vec![2, 50, 60, 70, 3], type_ids: vec![0; 5] };
    let mut tape = Tape::default();
    let output =
        model.forward(&Batch::new([&tokens].into_iter(), 0), Mode::Evaluate, &mut tape).unwrap().clone();
    let [weight, bias] = ["classifier.weight", "classifier.bias"].map(|name| &model.weights()[name].data);
    for (logit, (row, bias)) in output.logits.iter().zip(weight.chunks_exact(output.cls.len()).zip(bias)) {
        let wanted = row.iter().zip(&output.cls).map(|(w, x)| w * x.tanh()).sum::<f32>() + bias;
        assert!((logit - wanted).abs() < 1e-5, "{logit} {wanted}");
    }
}

#[test]
fn a_worn_pooler_is_replaced_before_a_head_is_trained_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    base(0.02).save(&path("fresh")).unwrap();
    base(0.009).save(&path("worn")).unwrap();
    let lines = (5..45).map(|i| format!("piece{i} piece{},{}\n", i + 1, if i % 2 == 0 { "a" } else { "b" }));
    std::fs::write(path("data.csv"), "text,label\n".to_string() + &lines.collect::<String>()).unwrap();
    let trained = |checkpoint: &str, pooler: &str, output: &str| {
        let text = format!(
            "output = \"{output}\"\n[data]\ntrain = \"data.csv\"\n[base]\ncheckpoint = \"{checkpoint}\"\n{pooler}\n[task]\n\
             max_tokens = 16\n[train]\nepochs = 1\nlearning_rate = 1e-9\n[pack]\nname = \"x\"\n"
        );
        let recipe = Recipe::parse(&text, &path("recipe.toml")).unwrap();
        let mut noted = false;
        let mut watch = |progress: Progress| {
            noted |= matches!(progress, Progress::Note(note) if note.contains("base.pooler"));
        };
        run(&recipe, Until::Train, &mut watch).unwrap();
        let teacher = Checkpoint::load(&path(output).join("teacher")).unwrap();
        let corner = teacher.tensors["bert.pooler.dense.weight"].data[0];
        assert_eq!(noted, (corner - 1.0).abs() < 1e-3, "{checkpoint} {pooler}: {corner}");
        noted
    };
    assert!(!trained("fresh", "", "1"));
    assert!(trained("worn", "", "2"));
    assert!(!trained("worn", "pooler = \"keep\"", "3"));
    assert!(trained("fresh", "pooler = \"pass\"", "4"));
    // a classifier's pooler belongs to its head
    assert!(!trained("3/teacher", "", "5"));
}
