//! An MPNet teaches a BERT, and is itself neither cut nor packed.

mod support;

use goldcrest::bert::{Batch, Checkpoint, Classifier, Error, Mode, Tape, Tokens};
use goldcrest::recipe::{Progress, Recipe, RunError, Until, run};
use goldcrest::{distill, export, quantize};
use std::path::Path;
use support::{SHAPES, checkpoint_with_pieces};

/// Writes the recorded MPNet in Transformers' layout, with a vocabulary, and a change to its configuration.
fn write_mpnet(folder: &Path, from: &str, to: &str) {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hf_reference/case_mpnet");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::copy(recorded.join("model.safetensors"), folder.join("model.safetensors")).unwrap();
    let config = std::fs::read_to_string(recorded.join("config.json")).unwrap();
    std::fs::write(folder.join("config.json"), config.replace(from, to)).unwrap();
    let pieces: String = (6..63).map(|i| format!("piece{i}\n")).collect();
    let vocabulary = format!("<s>\n<pad>\n</s>\n[UNK]\n[CLS]\n[PAD]\n{pieces}<mask>\n");
    std::fs::write(folder.join("vocab.txt"), vocabulary).unwrap();
    std::fs::write(folder.join("tokenizer_config.json"), r#"{"tokenizer_class": "MPNetTokenizer"}"#).unwrap();
}

fn mpnet() -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    write_mpnet(folder.path(), "", "");
    Checkpoint::load(folder.path()).unwrap()
}

fn logits(checkpoint: Checkpoint) -> Vec<f32> {
    let model = Classifier::trained(checkpoint).unwrap();
    let tokens = Tokens { ids: vec![0, 40, 50, 60, 2], type_ids: vec![0; 5] };
    let batch = Batch::new([&tokens].into_iter(), 1);
    model.forward(&batch, Mode::Evaluate, &mut Tape::default()).unwrap().logits.clone()
}

#[test]
fn special_tokens_get_the_names_of_bert() {
    let pieces: Vec<String> = mpnet().tokenizer.pieces().map(String::from).collect();
    assert_eq!(pieces[..6], ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "<s>", "<pad>"]);
    assert_eq!(pieces[63], "[MASK]");
}

#[test]
fn a_saved_one_is_the_same_and_transformers_refuses_it() {
    let (model, folder) = (mpnet(), tempfile::tempdir().unwrap());
    model.save(folder.path()).unwrap();
    let again = Checkpoint::load(folder.path()).unwrap();
    assert!(again.tensors == model.tensors && again.config.only_teaches());
    assert_eq!(logits(again), logits(model));
    let config = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    assert!(config.contains("\"model_type\": \"goldcrest-mpnet\""), "{config}");
}

#[test]
fn a_saved_table_of_another_size_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    mpnet().save(folder.path()).unwrap();
    let path = folder.path().join("config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    for (other, said) in [("16,", "is 16; that of an MPNet must be 32"), ("null,", "is none;")] {
        std::fs::write(&path, config.replace("buckets\": 32,", &format!("buckets\": {other}"))).unwrap();
        let error = Checkpoint::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn distances_matter() {
    let (model, mut without) = (mpnet(), mpnet());
    let table = without.tensors.get_mut("bert.encoder.relative_attention_bias.weight").unwrap();
    table.data.fill(0.0);
    assert_ne!(logits(model), logits(without));
}

#[test]
fn other_tables_of_distances_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |from: &str, to: &str| {
        write_mpnet(folder.path(), from, to);
        Checkpoint::load(folder.path()).unwrap_err().to_string()
    };
    let error = refused("buckets\": 32", "buckets\": 16");
    assert!(error.contains("relative_attention_num_buckets is 16; that of an MPNet"), "{error}");
    let error = refused("\"mpnet\"", "\"bert\"");
    assert!(error.contains("is 32; that of a BERT must be none"), "{error}");
    let error = refused("\"mpnet\"", "\"roberta\"");
    assert!(error.contains("\"mpnet\" for teachers"), "{error}");
    let error = refused("embeddings\": 130", "embeddings\": 129");
    assert!(error.contains("position_embeddings"), "{error}");
}

/// Changes a file of the folder, and returns the error of loading it.
fn spoiled(name: &str, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    write_mpnet(folder.path(), "", "");
    std::fs::write(folder.path().join(name), text).unwrap();
    Checkpoint::load(folder.path()).unwrap_err().to_string()
}

#[test]
fn its_tokenizer_is_checked_as_that_of_a_bert() {
    let config = "tokenizer_config.json";
    let fast = |sep: &str, added: &str| {
        format!(
            r#"{{"model": {{"vocab": {{"<s>": 0, "<pad>": 1}}}}, "pre_tokenizer": {{"type": "BertPreTokenizer"}},
            "post_processor": {{"type": "RobertaProcessing", "sep": ["{sep}", 2], "cls": ["<s>", 0]}}, "added_tokens": {added}}}"#
        )
    };
    for (file, text, said) in [
        (config, r#"{"do_lower_case": "false"}"#, "do_lower_case is \"false\""),
        (config, r#"{"cls_token": "<cls>"}"#, "cls_token is \"<cls>\""),
        (config, r#"{"tokenizer_class": "RobertaTokenizer"}"#, "\"RobertaTokenizer\""),
        (config, r#"{"truncation_side": "left"}"#, "truncation_side is \"left\""),
        ("added_tokens.json", r#"{"<user>": 64}"#, "\"<user>\""),
        ("tokenizer.json", &fast("</s>", "[]"), "`[SEP]` has the id 2"),
        ("tokenizer.json", &fast("<pad>", "[]"), "the post_processor"),
    ] {
        let error = spoiled(file, text);
        assert!(error.contains(said), "{error}");
    }
    let added = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"]
        .map(|token| format!(r#"{{"content": "{token}"}}"#));
    let added = format!("[{}]", added.join(", "));
    let fast = fast("</s>", &added).replace(r#""vocab": {"<s>": 0, "<pad>": 1}"#, "");
    let usual = r#"{"bos_token": "<s>", "mask_token": {"content": "<mask>"}, "unk_token": "[UNK]", "sep_token": "</s>"}"#;
    let folder = tempfile::tempdir().unwrap();
    write_mpnet(folder.path(), "", "");
    std::fs::write(folder.path().join("special_tokens_map.json"), usual).unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), fast).unwrap();
    assert_eq!(Checkpoint::load(folder.path()).unwrap().tokenizer, mpnet().tokenizer);
}

#[test]
fn a_tape_forgets_the_distances_of_another_model() {
    let bert = Classifier::new(checkpoint_with_pieces(&SHAPES[2], 7), 0).unwrap();
    let mpnet = Classifier::trained(mpnet()).unwrap();
    let tokens = Tokens { ids: vec![2, 40, 50, 3], type_ids: vec![0; 4] };
    let batch = Batch::new([&tokens].into_iter(), 1);
    let alone = bert.forward(&batch, Mode::Evaluate, &mut Tape::default()).unwrap().logits.clone();
    let mut tape = Tape::default();
    mpnet.forward(&batch, Mode::Evaluate, &mut tape).unwrap();
    assert_eq!(bert.forward(&batch, Mode::Evaluate, &mut tape).unwrap().logits, alone);
}

#[test]
fn it_is_neither_cut_nor_exported() {
    let model = mpnet();
    assert!(matches!(export::fp32(&model), Err(Error::OnlyTeaches)));
    assert!(matches!(quantize::quantize(&model, quantize::Bits::Eight), Err(Error::OnlyTeaches)));
    assert!(matches!(distill::cut_layers(&model, &[0]), Err(Error::OnlyTeaches)));
}

#[test]
fn it_teaches_a_bert() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_mpnet(&path("mpnet"), "", "");
    let mut base = checkpoint_with_pieces(&SHAPES[2], 7);
    base.drop_head();
    base.save(&path("bert")).unwrap();
    let rows = (5..45).map(|i| format!("piece{i} piece{},{}\n", i + 1, if i % 2 == 0 { "a" } else { "b" }));
    std::fs::write(path("data.csv"), "text,label\n".to_string() + &rows.collect::<String>()).unwrap();
    let finished = |base: &str, output: &str, rest: &str, until| {
        let text = format!(
            "output = \"{output}\"\n[data]\ntrain = \"data.csv\"\n[base]\ncheckpoint = \"{base}\"\n[task]\n\
             max_tokens = 16\n[train]\nepochs = 1\n{rest}\n[pack]\nname = \"x\"\n"
        );
        let recipe = Recipe::parse(&text, &path("recipe.toml")).unwrap();
        let mut notes = Vec::new();
        let watch = &mut |progress: Progress| {
            notes.extend(if let Progress::Note(note) = progress { Some(note.to_string()) } else { None })
        };
        (run(&recipe, until, watch), notes)
    };
    for distill in ["", "[distill]\nlayers = 1"] {
        let (refused, _) = finished("mpnet", "refused", distill, Until::Pack);
        let error = refused.unwrap_err();
        assert!(matches!(error, RunError::Unsuitable { key: "base.checkpoint", .. }), "{error:?}");
        assert!(!path("refused/teacher").exists());
    }
    let says = |notes: &[String], what: &str| notes.iter().any(|note| note.contains(what));
    let (trained, notes) = finished("mpnet", "alone", "", Until::Train);
    assert!(trained.is_ok() && !says(&notes, "base.pooler"), "{notes:?}");
    // without a head there is no pooler to keep
    let mut encoder = mpnet();
    encoder.tensors.retain(|name, _| !name.starts_with("bert.pooler.") && !name.starts_with("classifier."));
    encoder.save(&path("encoder")).unwrap();
    let (trained, notes) = finished("encoder", "encoded", "", Until::Train);
    assert!(trained.is_ok() && says(&notes, "base.pooler"), "{notes:?}");
    for (base, distill) in [
        ("mpnet", "[distill]\nepochs = 1\nstart = \"bert\""),
        ("bert", "[distill]\nepochs = 1\nlayers = 2\nother_teachers = [\"alone/teacher\"]"),
    ] {
        let (made, notes) = finished(base, &format!("from-{base}"), distill, Until::Distill);
        // a student that starts anew is warned of few texts
        assert_eq!(says(&notes, "there are few texts"), base == "mpnet", "{notes:?}");
        let student = Checkpoint::load(&made.unwrap().model).unwrap();
        assert!(!student.config.only_teaches() && student.config.hidden_size == SHAPES[2].hidden);
    }
}
