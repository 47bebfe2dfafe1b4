//! Cutting and factorising.
use super::*;
use goldcrest::distill::{best_layers, cut_widths, factorise_embeddings, importance};
use support::SHAPES;

#[test]
fn dead_parts_are_cut_first_and_change_nothing() {
    let mut whole = model();
    for (layer, head, column) in [(0, 2, 3), (1, 0, 11)] {
        // one head and seven columns whose outputs are ignored
        let mut clear = |part: &str, width: usize, dead: std::ops::Range<usize>| {
            let name = format!("bert.encoder.layer.{layer}.{part}.weight");
            let weight = whole.tensors.get_mut(&name).unwrap();
            weight.data.chunks_exact_mut(width).for_each(|row| row[dead.clone()].fill(0.0));
        };
        clear("attention.output.dense", 16, head * 4..head * 4 + 4);
        clear("output.dense", 24, column..column + 7);
    }
    // and three such columns of the pooler
    let classifier = whole.tensors.get_mut("classifier.weight").unwrap();
    classifier.data.chunks_exact_mut(16).for_each(|row| row[5..8].fill(0.0));
    let texts = data(&["red fast warm", "slower blue", "cold high low green"]);
    let texts = Encoded::new(texts, &whole.tokenizer, 16).unwrap();
    let found = importance(&Classifier::new(whole.clone(), 0).unwrap(), &texts, 3, 0).unwrap();
    for (layer, head) in [(0, 2), (1, 0)] {
        let dead: Vec<usize> = (0..4).filter(|h| found.layers[layer].heads[*h] == 0.0).collect();
        assert_eq!(dead, [head], "layer {layer}: {:?}", found.layers[layer].heads);
    }
    let cut = cut_widths(&whole, &found, Some(3), Some(17), Some(13));
    let shape = cut.config.goldcrest.clone().unwrap();
    assert_eq!((shape.heads, shape.intermediate, shape.pooler), (vec![3, 3], vec![17, 17], Some(13)));
    assert!(close(&logits(&whole), &logits(&cut), 1e-6));
    let more = cut_widths(&whole, &found, Some(2), None, None);
    assert!(!close(&logits(&whole), &logits(&more), 1e-9));
}

#[test]
fn importance_is_the_sum_over_small_batches() {
    let whole = model();
    let measured = |texts: usize| {
        let texts = Encoded::new(data(&vec!["red fast warm"; texts]), &whole.tokenizer, 16).unwrap();
        importance(&Classifier::new(whole.clone(), 0).unwrap(), &texts, 8, 0).unwrap()
    };
    // one batch and two
    let (one, two) = (measured(4), measured(8));
    let twice = |one: &[f64], two: &[f64]| {
        one.iter().zip(two).all(|(one, two)| *one > 0.0 && (two / one - 2.0).abs() < 1e-3)
    };
    assert!(twice(&one.pooler, &two.pooler));
    for (one, two) in one.layers.iter().zip(&two.layers) {
        assert!(
            twice(&one.heads, &two.heads) && twice(&one.intermediate, &two.intermediate),
            "{one:?} {two:?}"
        );
    }
}

#[test]
fn importance_of_a_head_is_the_slope_of_the_margin() {
    let whole = model();
    let text = Encoded::new(data(&["red fast warm"]), &whole.tokenizer, 16).unwrap();
    let found = importance(&Classifier::new(whole.clone(), 0).unwrap(), &text, 1, 0).unwrap();
    let largest = found.layers.iter().flat_map(|layer| &layer.heads).copied().fold(0.0, f64::max);
    let margin = |layer: usize, head: usize, scale: f32| {
        let mut scaled = whole.clone();
        let name = format!("bert.encoder.layer.{layer}.attention.output.dense.weight");
        let rows = scaled.tensors.get_mut(&name).unwrap().data.chunks_exact_mut(16);
        rows.for_each(|row| row[head * 4..head * 4 + 4].iter_mut().for_each(|x| *x *= scale));
        let answers = predict_with_vectors(&Classifier::new(scaled, 0).unwrap(), &text, &mut |_| ()).unwrap();
        f64::from(answers.logits[0] - answers.logits[1]).abs()
    };
    for (layer, head) in (0..8).map(|i| (i / 4, i % 4)) {
        let wanted = ((margin(layer, head, 1.1) - margin(layer, head, 0.9)) / 0.2).abs();
        let here = found.layers[layer].heads[head];
        assert!((here - wanted).abs() < 0.05 * largest, "{layer} {head}: {here} {wanted}");
    }
}

#[test]
fn layers_of_a_student_keep_their_own_widths() {
    let uneven = checkpoint(SHAPES.last().unwrap(), 7);
    let cut = cut_layers(&uneven, &[1, 3]).unwrap();
    let shape = cut.config.goldcrest.clone().unwrap();
    assert_eq!((shape.heads, shape.intermediate), (vec![2, 1], vec![33, 17]));
    for (name, shape) in Checkpoint::shapes(&cut.config) {
        assert_eq!(cut.tensors[&name].shape, shape, "{name}");
    }
}

#[test]
fn factorising_to_full_rank_is_exact() {
    let whole = model();
    let counts = vec![1.0; 14];
    // 14 pieces span at most 14 of the 16 dimensions
    let narrow = factorise_embeddings(&whole, 14, &counts);
    assert_eq!(narrow.config.embedding_rank(), Some(14));
    assert!(close(&logits(&whole), &logits(&narrow), 1e-5));
    let again = factorise_embeddings(&narrow, 13, &counts);
    assert_eq!(again.tensors["bert.embeddings.word_embeddings.weight"].shape, [14, 13]);
    assert!(!close(&logits(&whole), &logits(&again), 1e-9));
    assert_eq!(factorise_embeddings(&whole, 16, &counts), whole);
}

#[test]
fn factorised_embeddings_are_multiplied_out_first() {
    // a projection that does not preserve lengths, as after training
    let mut stretched = factorise_embeddings(&model(), 14, &[1.0; 14]);
    let projection = stretched.tensors.get_mut("bert.embeddings.word_embeddings_projection.weight").unwrap();
    projection.data.iter_mut().enumerate().for_each(|(i, x)| *x *= if i % 14 < 7 { 5.0 } else { 0.2 });
    let table = stretched.word_embeddings();
    let again = factorise_embeddings(&stretched, 7, &[1.0; 14]).word_embeddings();
    let squares = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let lost = squares(&mut table.data.iter().zip(&again.data).map(|(a, b)| a - b));
    // the table's singular values give the smallest possible loss
    let matrix = nalgebra::DMatrix::from_row_slice(14, 16, &table.data).map(f64::from);
    let least: f64 = matrix.singular_values().iter().skip(7).map(|s| s * s).sum();
    assert!(lost < least * 1.001 + 1e-9, "{lost} {least}");
}

/// Weights are counts, between 1 and 900 times.
#[test]
fn frequent_pieces_lose_least() {
    let whole = model().word_embeddings();
    let (weights, counts): (Vec<f64>, Vec<f64>) =
        (0..14).map(|i| [(1.0, 0.0), (30.0, 30.0), (900.0, 1e6)][i % 3]).unzip();
    let narrow = factorise_embeddings(&model(), 7, &counts).word_embeddings();
    let rows = whole.data.chunks_exact(16).zip(narrow.data.chunks_exact(16)).zip(&weights);
    let squares = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
    let lost: f64 = rows.map(|((a, b), weight)| weight * a.iter().zip(b).map(squares).sum::<f64>()).sum();
    // the singular values of the weighted table give the smallest possible loss
    let weighted =
        nalgebra::DMatrix::from_fn(14, 16, |i, j| weights[i].sqrt() * f64::from(whole.data[i * 16 + j]));
    let least: f64 = weighted.singular_values().iter().skip(7).map(|s| s * s).sum();
    assert!(lost < least * 1.001 + 1e-9, "{lost} {least}");
}

#[test]
fn changed_table_overrides_its_factors() {
    let folder = tempfile::tempdir().unwrap();
    let mut narrow = factorise_embeddings(&model(), 10, &[1.0; 14]);
    // numbers that are subnormal in half precision
    let table = narrow.tensors.get_mut("bert.embeddings.word_embeddings.weight").unwrap();
    table.data[..40].iter_mut().for_each(|x| *x *= 1e-5);
    let path = |name: &str| folder.path().join(name);
    narrow.save(folder.path()).unwrap();
    assert_eq!(Checkpoint::load(folder.path()).unwrap(), narrow);
    narrow.save_f16(folder.path()).unwrap();
    assert_eq!(Checkpoint::load(folder.path()).unwrap().config.embedding_rank(), Some(10));
    narrow.save(folder.path()).unwrap();
    // trained further by another program, which knows only the table
    let mut changed = narrow.clone();
    let table = changed.tensors.get_mut("bert.embeddings.word_embeddings.weight").unwrap();
    table.data[3] += 0.5;
    let elsewhere = tempfile::tempdir().unwrap();
    changed.save(elsewhere.path()).unwrap();
    let whole = |loaded: Checkpoint| {
        assert_eq!(loaded.config.embedding_rank(), None);
        assert!(close(&logits(&changed), &logits(&loaded), 1e-6));
    };
    std::fs::copy(elsewhere.path().join("model.safetensors"), path("model.safetensors")).unwrap();
    whole(Checkpoint::load(folder.path()).unwrap());
    std::fs::remove_file(path("embedding_factors.safetensors")).unwrap();
    whole(Checkpoint::load(folder.path()).unwrap());
}

#[test]
fn the_best_layers_are_those_that_do_something() {
    let mut whole = model();
    for layer in 0..2 {
        let at = |part: &str| format!("bert.encoder.layer.{layer}.{part}");
        let mut fill = |name: String, value: f32| whole.tensors.get_mut(&name).unwrap().data.fill(value);
        fill(at("output.LayerNorm.weight"), 1.0);
        fill(at("output.LayerNorm.bias"), 0.0);
        // the second one passes on what it gets, which is normalised already
        for part in ["attention.output.dense", "output.dense"].into_iter().filter(|_| layer == 1) {
            fill(at(&format!("{part}.weight")), 0.0);
            fill(at(&format!("{part}.bias")), 0.0);
        }
        if layer == 1 {
            fill(at("attention.output.LayerNorm.weight"), 1.0);
            fill(at("attention.output.LayerNorm.bias"), 0.0);
        }
    }
    let texts = data(&["red fast warm", "slower blue", "cold high low green"]);
    let texts = Encoded::new(texts, &whole.tokenizer, 16).unwrap();
    let answers =
        predict_with_vectors(&Classifier::new(whole.clone(), 0).unwrap(), &texts, &mut |_| ()).unwrap();
    assert_eq!(best_layers(&whole, 1, &texts, &answers.logits).unwrap(), Some(vec![0]));
}
