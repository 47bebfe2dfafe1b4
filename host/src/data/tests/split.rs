use std::collections::HashSet;

use super::*;

/// Makes `rows` examples of `classes` classes. The first class has half of them; every fourth text repeats
/// the one before.
fn synthetic(rows: usize, classes: usize) -> Dataset {
    let mut csv = "text,label\n".to_owned();
    for row in 0..rows {
        let text = row - usize::from(row % 4 == 3);
        let class = if text % 2 == 0 { 0 } else { text % classes };
        csv += &format!("text {text},{class}\n");
    }
    read("s.csv", csv).unwrap()
}

#[test]
fn split_is_stratified_seeded_and_keeps_texts_together() {
    let data = synthetic(1000, 5);
    let first = split(&data, 0.2, 1).unwrap();
    assert_eq!(first, split(&data, 0.2, 1).unwrap());
    assert_ne!(first, split(&data, 0.2, 2).unwrap());
    assert_eq!(first.train.len() + first.held_out.len(), 1000);
    let keys = |data: &Dataset| data.examples.iter().map(Example::key).collect::<HashSet<_>>();
    assert!(keys(&first.train).is_disjoint(&keys(&first.held_out)));
    for (all, held_out) in data.class_counts().into_iter().zip(first.held_out.class_counts()) {
        assert!((held_out as f64 - all as f64 * 0.2).abs() <= 2.0, "{held_out} of {all}");
    }
}

#[test]
fn split_does_not_depend_on_the_order_of_rows() {
    let lines = |side: &Dataset| side.examples.iter().map(|example| example.line).collect::<HashSet<_>>();
    // texts that occur twice, with different labels, and the same of pairs in both orders
    let twice = |i: usize| format!("text {i},{}\ntext {i},{}\n", i % 3, i / 3 % 3);
    let both = |i: usize| format!("a {i},b {i},{}\nb {i},a {i},{}\n", i % 3, i / 3 % 3);
    let twice = (0..150).map(twice).collect::<String>();
    let both = (0..150).map(both).collect::<String>();
    for data in [
        synthetic(300, 3),
        read("s.csv", format!("text,label\n{twice}")).unwrap(),
        read("s.csv", format!("text_a,text_b,label\n{both}")).unwrap(),
    ] {
        let reversed = data.subset((0..data.len()).rev());
        assert_eq!(
            lines(&split(&data, 0.3, 7).unwrap().held_out),
            lines(&split(&reversed, 0.3, 7).unwrap().held_out)
        );
    }
}

#[test]
fn split_of_numbers_and_sets_is_even() {
    let mut csv = "text,score\n".to_owned();
    (0..1000).for_each(|row| csv += &format!("text {row},{}\n", row as f32 / 100.0));
    let held_out = split(&read("s.csv", csv).unwrap(), 0.1, 3).unwrap().held_out;
    let low = held_out.examples.iter().filter(|e| e.target.numbers()[0] < 5.0).count();
    assert_eq!((held_out.len(), low), (100, 50));

    let mut json = String::new();
    for row in 0..400 {
        let rare = if row % 20 == 0 { ",\"rare\"" } else { "" };
        json += &format!("{{\"text\":\"t{row}\",\"labels\":[\"common\"{rare}]}}\n");
    }
    let held_out = split(&read("s.jsonl", json).unwrap(), 0.25, 3).unwrap().held_out;
    assert_eq!(held_out.class_counts(), [100, 5]);
}

#[test]
fn pairs_that_share_a_text_stay_together_where_most_do() {
    let pairs = |shares: fn(usize) -> usize| {
        let mut csv = "premise,hypothesis,label\n".to_owned();
        (0..300).for_each(|row| csv += &format!("p{},h{row},{}\n", shares(row), ["no", "yes"][row % 2]));
        read("s.csv", csv).unwrap()
    };
    let shared = |data: &Dataset| {
        let Split { train, held_out } = split(data, 0.2, 5).unwrap();
        assert_eq!(train.len() + held_out.len(), 300);
        assert!((55..=65).contains(&held_out.len()), "{} held out", held_out.len());
        let texts = |side: &Dataset| side.examples.iter().map(|e| e.text.clone()).collect::<HashSet<_>>();
        !texts(&train).is_disjoint(&texts(&held_out))
    };
    assert!(!shared(&pairs(|row| row / 3)), "a premise and its three hypotheses are apart");
    assert!(shared(&pairs(|row| if row < 100 { row / 4 } else { row })), "few share a text");
    assert!(shared(&pairs(|row| row % 3)), "a third of all pairs hang together");
    // groups of regression rows larger than their decile's quota
    let rows: String = (0..400).map(|i| format!("q{},a{i},{}.{}\n", i / 10, i / 10, i % 10)).collect();
    let numbers = read("n.csv", format!("sentence1,sentence2,score\n{rows}")).unwrap();
    assert!((36..=44).contains(&split(&numbers, 0.1, 1).unwrap().held_out.len()));
    // a class whose rows all belong to groups of other classes
    let third = |i: usize| if i % 90 == 2 { "zrare" } else { ["a", "b", "c"][i % 3] };
    let rows: String = (0..600).map(|i| format!("p{},h{i},{}\n", i / 3, third(i))).collect();
    let rare = read("r.csv", format!("premise,hypothesis,label\n{rows}")).unwrap();
    for seed in 0..5 {
        let held_out = split(&rare, 0.1, seed).unwrap().held_out.class_counts();
        assert!(held_out.iter().all(|count| *count > 0), "{held_out:?}");
    }
}

#[test]
fn small_classes_give_a_row_by_seed() {
    let rows: String = (0..150).map(|row| format!("text {row},c{:02}\n", row / 3)).collect();
    let data = read("s.csv", format!("text,label\n{rows}")).unwrap();
    let held_out = split(&data, 0.1, 1).unwrap().held_out.class_counts();
    assert_eq!(held_out.iter().sum::<usize>(), 15);
    // not only those whose names come first
    assert!(
        held_out[25..].iter().sum::<usize>() > 2 && held_out[..25].iter().sum::<usize>() > 2,
        "{held_out:?}"
    );
}

#[test]
fn split_needs_two_sides() {
    let data = synthetic(4, 2);
    for fraction in [0.0, 1.0, -1.0, 2.0, f64::NAN, 0.01] {
        assert!(matches!(split(&data, fraction, 1), Err(DataError::Split { .. })), "{fraction}");
    }
}

#[test]
fn overlap_is_found_and_removed() {
    let folder = Folder::new();
    let mut train =
        Dataset::read(&[folder.file("t.csv", "text,label\na,x\nb,y\nA ,y\nc,x\n")], None, None).unwrap();
    let dev = train.read_like(&[folder.file("d.csv", "text,label\nq,x\n a,x\n")]).unwrap();
    let warning = remove_overlap(&mut train, &dev, false).unwrap();
    assert_eq!(train.len(), 4);
    assert!(warning.to_string().starts_with("2 texts are also held out"), "{warning}");
    remove_overlap(&mut train, &dev, true).unwrap();
    assert_eq!(train.examples.iter().map(|e| e.text.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(remove_overlap(&mut train, &dev, true), None);
}

#[test]
fn a_pair_is_the_same_either_way_round() {
    let folder = Folder::new();
    let mut csv = "text_a,text_b,label\n".to_owned();
    (0..20).for_each(|i| csv += &format!("a {i},b {i},1\nB {i},a {i},0\n"));
    let mut train = Dataset::read(&[folder.file("t.csv", &csv)], None, None).unwrap();
    for seed in 0..8 {
        let sides = split(&train, 0.4, seed).unwrap();
        let texts = |data: &Dataset| data.examples.iter().map(Example::texts).collect::<HashSet<_>>();
        assert!(texts(&sides.train).is_disjoint(&texts(&sides.held_out)));
    }
    let dev = train.read_like(&[folder.file("d.csv", "text_a,text_b,label\nb 3,a 3,1\n")]).unwrap();
    remove_overlap(&mut train, &dev, true).unwrap();
    assert_eq!(train.len(), 38);
}

#[test]
fn a_class_of_one_text_stays_in_training() {
    let mut csv = "text,label\n".to_owned();
    (0..200).for_each(|row| csv += &format!("text {row},{}\n", row % 2));
    (0..30).for_each(|row| csv += &format!("rare {row},rare {row}\n"));
    let data = read("s.csv", csv).unwrap();
    for seed in 0..4 {
        let sides = split(&data, 0.1, seed).unwrap();
        assert!(sides.train.absent().is_empty());
        assert!((20..=23).contains(&sides.held_out.len()), "{}", sides.held_out.len());
    }
    // few texts per class: every class is still measured
    let mut csv = "text,label\n".to_owned();
    (0..150).for_each(|row| csv += &format!("text {row},{}\n", row % 30));
    let sides = split(&read("s.csv", csv).unwrap(), 0.1, 0).unwrap();
    assert!(sides.held_out.absent().is_empty() && sides.train.absent().is_empty());
    // only classes of one text: one of them is held out all the same
    let data = read("s.csv", "text,label\na,1\nb,2\nc,3\nd,4\n").unwrap();
    assert_eq!(split(&data, 0.25, 1).unwrap().held_out.len(), 1);
}

#[test]
fn symmetric_pairs_are_added_in_both_orders() {
    let mut data = read("s.csv", "text_a,text_b,label\na,b,1\nb,a,1\nc,c,0\nd,e,0\n").unwrap();
    data.add_swapped();
    let both: Vec<_> = data.examples.iter().map(|e| (e.text.as_str(), e.pair.as_deref().unwrap())).collect();
    assert_eq!(both, [("a", "b"), ("b", "a"), ("c", "c"), ("d", "e"), ("e", "d")]);
    assert_eq!((&data.examples[4].target, data.examples[4].line), (&data.examples[3].target, 5));
}
