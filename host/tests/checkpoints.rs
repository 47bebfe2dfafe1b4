//! Which checkpoint folders are read, and which are refused.

mod support;

use goldcrest::bert::{
    Array, CLASSIFIER, CLASSIFIER_BIAS, Checkpoint, InputFormat, InputOptions, TYPE_EMBEDDINGS,
};
use goldcrest::data::{Dataset, Labels, Task};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::path::Path;
use support::{SHAPES, checkpoint_with_pieces};

#[test]
fn unusable_folders_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let saved = |name: &str, change: &dyn Fn(&mut Checkpoint)| {
        let mut model = checkpoint_with_pieces(&SHAPES[2], 7);
        change(&mut model);
        let path = folder.path().join(name);
        model.save(&path).unwrap();
        path
    };
    // an incomplete head is ignored
    let bare = |name: &str, dropped: &'static str| {
        let path = saved(name, &|model| model.tensors.retain(|name, _| !name.starts_with(dropped)));
        !Checkpoint::load(&path).unwrap().has_head()
    };
    assert!(bare("no-pooler", "bert.pooler") && bare("no-bias", "classifier.bias"));
    let path = saved("nan", &|model| model.tensors.get_mut("classifier.bias").unwrap().data[0] = f32::NAN);
    let nan = Checkpoint::load(&path).unwrap_err().to_string();
    assert!(nan.contains("nan") && nan.contains("classifier.bias holds NaN"), "{nan}");
    let edited = |name: &str, file: &str, from: &str, to: &str| {
        let path = saved(name, &|_| ());
        let text = std::fs::read_to_string(path.join(file)).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(path.join(file), text.replacen(from, to, 1)).unwrap();
        if name == "changed" && file == "vocab.txt" {
            std::fs::remove_file(path.join("tokenizer.json")).unwrap();
        }
        Checkpoint::load(&path).map(|_| name).unwrap_err().to_string()
    };
    let swapped = edited("swapped", "vocab.txt", "piece5\npiece6\n", "piece6\npiece5\n");
    assert!(swapped.contains("tokenizer.json"), "{swapped}");
    for (file, from, to, expected) in [
        (
            "config.json",
            "\"num_hidden_layers\": ",
            "\"num_hidden_layers\": 999999999",
            "num_hidden_layers is 9",
        ),
        (
            "config.json",
            "\"hidden_dropout_prob\": ",
            "\"hidden_dropout_prob\": 1.5, \"x\": ",
            "hidden_dropout_prob is 1.5",
        ),
        ("config.json", "\"layer_norm_eps\": ", "\"layer_norm_eps\": -1, \"x\": ", "layer_norm_eps is -1"),
        ("config.json", "\"vocab_size\": ", "\"is_decoder\": true, \"vocab_size\": ", "is_decoder is true"),
        ("config.json", "\"pad_token_id\": ", "\"pad_token_id\": 99999", "pad_token_id is 9"),
        ("config.json", "\"id2label\": {", "\"id2label\": { \"7\": \"far\",", "none for"),
        ("config.json", "\"id2label\": {", "\"id2label\": { \"x\": \"far\",", "`x` is no id"),
        ("config.json", "\"id2label\": {", "\"id2label\": { \"7\": null,", "id 7 has no name"),
        ("config.json", "{", "{ \"reads\": { \"max_tokens\": 2 },", "reads says 2 tokens"),
        ("config.json", "\"pad_token_id\": 0", "\"pad_token_id\": 700", "pad_token_id is 700"),
        ("config.json", "_prob\": ", "_prob\": 1.0, \"x\": ", "dropout_prob is 1;"),
        ("config.json", "{", "{ \"classifier_dropout\": 1.0,", "classifier_dropout is 1;"),
        ("config.json", "\"gelu\"", "\"gelu_new\"", "hidden_act is \"gelu_new\""),
        ("config.json", "{", "{ \"add_cross_attention\": true,", "add_cross_attention is true"),
        ("config.json", "{", "{ \"pruned_heads\": { \"0\": [1] },", "pruned_heads is not supported"),
        (
            "config.json",
            "_heads\": ",
            "_heads\": 3, \"x\": ",
            "128 is not a multiple of num_attention_heads 3",
        ),
        ("vocab.txt", "piece6\n", "piece5\n", "repeats the piece"),
        ("vocab.txt", "[SEP]\n", "[sep]\n", "the vocabulary has no [SEP]"),
        ("tokenizer.json", "_prefix\": \"##", "_prefix\": \"@@", "continuing_subword_prefix is \"@@\""),
        ("tokenizer.json", "BertPreTokenizer", "Whitespace", "pre_tokenizer is \"Whitespace\""),
        ("tokenizer.json", "BertNormalizer", "Lowercase", "normalizer is \"Lowercase\""),
        ("tokenizer.json", "_per_word\": 100", "_per_word\": 200", "max_input_chars_per_word is 200"),
        (
            "tokenizer.json",
            "\"added_tokens\": [",
            "\"added_tokens\": [{\"content\": \"<url>\"},",
            "added token \"<url>\"",
        ),
        (
            "tokenizer_config.json",
            "\"do_lower_case\": ",
            "\"do_lower_case\": \"no\", \"x\": ",
            "do_lower_case is \"no\"",
        ),
        ("tokenizer_config.json", "{", "{\"word_tokenizer_type\": \"mecab\",", "only \"basic\""),
    ] {
        let error = edited("changed", file, from, to);
        assert!(error.contains("changed") && error.contains(expected), "{error}");
    }
    for windows in [r#"{"overlap": 14, "most": 2}"#, r#"{"overlap": 1, "most": 0}"#] {
        let reads = format!("{{ \"reads\": {{ \"max_tokens\": 16, \"windows\": {windows} }},");
        let error = edited("windows", "config.json", "{", &reads);
        assert!(error.contains("reads says 16 tokens"), "{error}");
    }
    for (shape, expected) in [
        (r#""head_size": 32, "heads": [4], "intermediate": [256, 256]"#, "need 2 entries"),
        (r#""head_size": 32, "heads": [4, 4], "intermediate": [256]"#, "need 2 entries"),
        (r#""head_size": 32, "heads": [4, 0], "intermediate": [256, 256]"#, "does not fit"),
        (r#""head_size": 32, "heads": [4, 5], "intermediate": [256, 256]"#, "does not fit"),
        (r#""head_size": 0, "heads": [4, 4], "intermediate": [256, 256]"#, "does not fit"),
        (r#""head_size": 32, "heads": [4, 4], "intermediate": [256, 0]"#, "does not fit"),
        (r#""head_size": 32, "heads": [4, 4], "intermediate": [256, 257]"#, "does not fit"),
        (
            r#""head_size": 32, "heads": [4, 4], "intermediate": [256, 256], "embedding_rank": 0"#,
            "does not fit",
        ),
        (
            r#""head_size": 32, "heads": [4, 4], "intermediate": [256, 256], "embedding_rank": 1048577"#,
            "does not fit",
        ),
        (r#""head_size": 32, "heads": [4, 4], "intermediate": [256, 256], "pooler": 0"#, "does not fit"),
        (r#""head_size": 32, "heads": [4, 4], "intermediate": [256, 256], "pooler": 129"#, "does not fit"),
    ] {
        let error = edited("shape", "config.json", "{", &format!("{{ \"goldcrest\": {{ {shape} }},"));
        assert!(error.contains(expected), "{shape}: {error}");
    }
    // whose keys are others
    let path = saved("distilbert", &|_| ());
    std::fs::write(path.join("config.json"), r#"{"model_type": "distilbert", "dim": 768, "n_layers": 6}"#)
        .unwrap();
    let distilbert = Checkpoint::load(&path).unwrap_err().to_string();
    assert!(distilbert.contains("model_type is \"distilbert\"; only \"bert\""), "{distilbert}");
    let instead = |name: &str, bytes: &[u8]| {
        let path = saved(name, &|_| ());
        std::fs::write(path.join("model.safetensors"), bytes).unwrap();
        Checkpoint::load(&path).map(|_| name).unwrap_err().to_string()
    };
    let pointer = instead("pointer", b"version https://git-lfs.github.com/spec/v1\n");
    assert!(pointer.contains("pointer/model.safetensors is a Git LFS pointer"), "{pointer}");
    let cut = instead("cut", &[1, 0, 0, 0, 0, 0, 0, 0]);
    assert!(cut.contains("cut/model.safetensors is damaged or incomplete"), "{cut}");
    let path = saved("bare", &|_| ());
    for file in ["vocab.txt", "tokenizer.json"] {
        std::fs::remove_file(path.join(file)).unwrap();
    }
    let bare = Checkpoint::load(&path).unwrap_err().to_string();
    assert!(bare.contains("no vocab.txt and no tokenizer.json"), "{bare}");
    let path = saved("parts", &|_| ());
    std::fs::rename(path.join("model.safetensors"), path.join("pytorch_model.bin")).unwrap();
    let parts = Checkpoint::load(&path).unwrap_err().to_string();
    assert!(parts.contains("save_pretrained"), "{parts}");
}

/// Writes the weights of a folder again, with other names.
fn rename(folder: &Path, names: impl Fn(&str) -> Vec<String>) {
    let path = folder.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let renamed =
        file.iter().flat_map(|(name, view)| names(name).into_iter().map(move |name| (name, view.clone())));
    let written = safetensors::serialize(renamed.collect::<Vec<_>>(), None).unwrap();
    std::fs::write(path, written).unwrap();
}

#[test]
fn old_names_are_read_unless_a_weight_has_both() {
    let folder = tempfile::tempdir().unwrap();
    let model = checkpoint_with_pieces(&SHAPES[2], 7);
    model.save(folder.path()).unwrap();
    let expected = Checkpoint::load(folder.path()).unwrap();
    let old = |name: &str| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        name.replace("LayerNorm.bias", "LayerNorm.beta").replace("bert.", "")
    };
    rename(folder.path(), |name| vec![old(name)]);
    assert!(Checkpoint::load(folder.path()).unwrap() == expected);
    for name in ["LayerNorm.gamma", "LayerNorm.beta", "embeddings.word_embeddings"] {
        model.save(folder.path()).unwrap();
        rename(folder.path(), |own| {
            let two = old(own).contains(name);
            if two { vec![own.to_owned(), old(own)] } else { vec![own.to_owned()] }
        });
        let error = Checkpoint::load(folder.path()).map(|_| name).unwrap_err().to_string();
        assert!(error.contains("are the same weight") && error.contains(name), "{error}");
    }
}

#[test]
fn weights_in_double_precision_are_read() {
    let folder = tempfile::tempdir().unwrap();
    checkpoint_with_pieces(&SHAPES[2], 7).save(folder.path()).unwrap();
    let expected = Checkpoint::load(folder.path()).unwrap();
    let wide = expected.tensors.iter().map(|(name, array)| {
        let bytes: Vec<u8> = array.data.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect();
        (name, array.shape.clone(), bytes)
    });
    let wide: Vec<_> = wide.collect();
    let views = wide
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F64, shape.clone(), bytes).unwrap()));
    let written = safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap();
    std::fs::write(folder.path().join("model.safetensors"), written).unwrap();
    assert!(Checkpoint::load(folder.path()).unwrap() == expected);
}

#[test]
fn settings_that_change_nothing_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = checkpoint_with_pieces(&SHAPES[2], 7);
    model.config.hidden_act = "gelu_python".into();
    model.config.extra.insert("pruned_heads".into(), serde_json::json!({}));
    model.config.extra.insert("is_decoder".into(), false.into());
    model.save(folder.path()).unwrap();
    let loaded = Checkpoint::load(folder.path()).unwrap().config;
    assert_eq!((loaded.head_dropout(), loaded.hidden_act.as_str()), (0.1, "gelu_python"));
    // the head has its own rate
    model.config.classifier_dropout = Some(0.25);
    model.save(folder.path()).unwrap();
    assert_eq!(Checkpoint::load(folder.path()).unwrap().config.head_dropout(), 0.25);
}

#[test]
fn tensors_that_no_classifier_has_may_be_of_any_type() {
    let folder = tempfile::tempdir().unwrap();
    checkpoint_with_pieces(&SHAPES[2], 7).save(folder.path()).unwrap();
    let expected = Checkpoint::load(folder.path()).unwrap();
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let with = |name: &'static str| {
        let numbers = TensorView::new(Dtype::I64, vec![1], &[0; 8]).unwrap();
        let all = file.iter().filter(|(own, _)| *own != name).chain([(name, numbers)]);
        std::fs::write(&path, safetensors::serialize(all.collect::<Vec<_>>(), None).unwrap()).unwrap();
        Checkpoint::load(folder.path()).map_err(|error| error.to_string())
    };
    assert!(with("bert.embeddings.position_ids").is_ok_and(|found| found == expected));
    let error = with("classifier.bias").map(|_| ()).unwrap_err();
    assert!(error.contains("classifier.bias is I64"), "{error}");
}

#[test]
fn factors_that_do_not_fit_the_table_are_ignored() {
    let factorised = SHAPES.iter().find(|shape| shape.rank.is_some()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    checkpoint_with_pieces(factorised, 7).save(folder.path()).unwrap();
    assert!(Checkpoint::load(folder.path()).unwrap().config.embedding_rank().is_some());
    let path = folder.path().join("embedding_factors.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for shape in [vec![], vec![1], vec![0, 0], vec![1, 1, 1], vec![100_000, 1]] {
        let zeros = vec![0; 4 * shape.iter().product::<usize>()];
        let views = file
            .names()
            .into_iter()
            .map(|name| (name.to_owned(), TensorView::new(Dtype::F32, shape.clone(), &zeros).unwrap()));
        std::fs::write(&path, safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap()).unwrap();
        let loaded = Checkpoint::load(folder.path()).unwrap();
        assert_eq!(loaded.config.embedding_rank(), None, "{shape:?}");
    }
}

#[test]
#[cfg(unix)]
fn a_link_to_a_missing_file_is_no_absent_file() {
    let folder = tempfile::tempdir().unwrap();
    checkpoint_with_pieces(&SHAPES[2], 7).save(folder.path()).unwrap();
    let path = folder.path().join("tokenizer_config.json");
    std::fs::remove_file(&path).unwrap();
    Checkpoint::load(folder.path()).unwrap();
    std::os::unix::fs::symlink("gone.json", &path).unwrap();
    let error = Checkpoint::load(folder.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("tokenizer_config.json"), "{error}");
}

/// What Transformers 4.57 and 5.24 do.
#[test]
fn without_token_types_both_texts_are_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let model = checkpoint_with_pieces(&SHAPES[2], 7);
    let path = folder.path().join("tokenizer_config.json");
    for (config, same) in [
        (r#"{"model_input_names": ["input_ids", "attention_mask"]}"#, true),
        (r#"{"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}"#, false),
        (r#"{"tokenizer_class": "DistilBertTokenizer"}"#, true),
        (r#"{"tokenizer_class": "BertTokenizer"}"#, false),
        // then config.json says it
        (r#"{}"#, true),
    ] {
        model.save(folder.path()).unwrap();
        std::fs::write(&path, config).unwrap();
        let config_of_model = folder.path().join("config.json");
        let text = std::fs::read_to_string(&config_of_model).unwrap();
        let text = text.replacen('{', r#"{"tokenizer_class": "DistilBertTokenizerFast","#, 1);
        std::fs::write(&config_of_model, text).unwrap();
        let loaded = Checkpoint::load(folder.path()).unwrap();
        let Array { shape, data } = &loaded.tensors[TYPE_EMBEDDINGS];
        let rows: Vec<&[f32]> = data.chunks_exact(shape[1]).collect();
        assert_eq!(rows[0], &model.tensors[TYPE_EMBEDDINGS].data[..shape[1]], "{config}");
        assert_eq!(rows[0] == rows[1], same, "{config}");
        // and the folder that is written says the same
        loaded.save(folder.path()).unwrap();
        assert_eq!(Checkpoint::load(folder.path()).unwrap().tensors, loaded.tensors, "{config}");
    }
}

#[test]
fn a_student_whose_padding_was_trained_is_a_plain_model() {
    let narrow = SHAPES.iter().find(|shape| shape.pooler.is_some()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    checkpoint_with_pieces(narrow, 7).save(folder.path()).unwrap();
    let loaded = Checkpoint::load(folder.path()).unwrap();
    assert_eq!(loaded.tensors["bert.pooler.dense.bias"].shape, [narrow.pooler.unwrap()]);
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let last = file.tensor("bert.pooler.dense.bias").unwrap();
    let mut changed = last.data().to_vec();
    let end = changed.len() - 4;
    changed[end..].copy_from_slice(&0.5f32.to_le_bytes());
    let changed = TensorView::new(Dtype::F32, last.shape().to_vec(), &changed).unwrap();
    let all = file.iter().map(|(name, view)| match name {
        "bert.pooler.dense.bias" => (name, changed.clone()),
        _ => (name, view),
    });
    std::fs::write(&path, safetensors::serialize(all.collect::<Vec<_>>(), None).unwrap()).unwrap();
    let loaded = Checkpoint::load(folder.path()).unwrap();
    assert_eq!(loaded.config.goldcrest, None);
    assert_eq!(loaded.tensors["bert.pooler.dense.bias"].data.last(), Some(&0.5));
}

#[test]
fn a_head_is_put_in_the_order_of_the_labels() {
    let model = checkpoint_with_pieces(&SHAPES[2], 7);
    let names = model.config.labels();
    let width = model.tensors[CLASSIFIER].data.len() / names.len();
    let prepared = |names: Vec<String>| {
        let data = Dataset::new(Task::SingleLabel, Labels::ordered(names).unwrap(), Vec::new()).unwrap();
        let mut model = model.clone();
        model.prepare_for(&data, InputFormat { max_tokens: 16, pairs: false, windows: None });
        model
    };
    let mut reversed = names.clone();
    reversed.reverse();
    let other = prepared(reversed.clone());
    assert_eq!(other.config.labels(), reversed);
    for (row, same) in (0..names.len()).rev().enumerate() {
        let row_of =
            |model: &Checkpoint, row: usize| model.tensors[CLASSIFIER].data[row * width..][..width].to_vec();
        assert_eq!(row_of(&other, row), row_of(&model, same));
        assert_eq!(other.tensors[CLASSIFIER_BIAS].data[row], model.tensors[CLASSIFIER_BIAS].data[same]);
    }
    assert!(prepared(names.clone()).tensors == model.tensors);
    // one label more, or another one
    let more = [&names[..], &["another".to_owned()]].concat();
    assert!(!prepared(more.clone()).has_head() && !prepared(more[1..].to_vec()).has_head());
}

#[test]
fn what_a_head_reads_is_not_what_its_base_was_taught() {
    let mut config = checkpoint_with_pieces(&SHAPES[2], 7).config;
    config.compares_pairs = true;
    let input = |pairs| config.input_format(InputOptions { pairs, ..InputOptions::default() }, 32).unwrap();
    assert!(!input(false).pairs && input(true).pairs);
    config.input = Some(InputFormat { max_tokens: 32, pairs: true, windows: None });
    assert!(config.input_format(InputOptions::default(), 32).unwrap().pairs);
}
