use super::*;
use crate::data::{Dataset, Example, Labels, Target, Task};
use crate::metrics::Metric;
use goldcrest_edge::decision::Settings;

fn dataset(task: Task, names: &[&str], targets: Vec<Target>) -> Dataset {
    let example = |target| Example::new("x", target);
    Dataset {
        task,
        labels: Labels::ordered(names.iter().map(|&name| name.to_owned()).collect()).unwrap(),
        examples: targets.into_iter().map(example).collect(),
        files: Vec::new(),
    }
}

fn outputs(logits: &[f32]) -> Outputs<'_> {
    Outputs { logits, thresholds: None, bytes: None, latency: None }
}

fn compare(data: &Dataset, fp32: &[f32], int8: &[f32]) -> Comparison {
    let inputs = Inputs { data, metric: None, fp32: outputs(fp32), int8: outputs(int8), host: None };
    Comparison::new(&inputs).unwrap()
}

/// Returns logits that yield these classes.
fn one_hot(classes: &[usize], width: usize) -> Vec<f32> {
    classes
        .iter()
        .flat_map(|&class| (0..width).map(move |index| f32::from(u8::from(index == class))))
        .collect()
}

/// Ten `on`, ten `off`; fp32 errs in one `on`, int8 in that one and in three `off`.
fn on_off() -> (Dataset, Vec<f32>, Vec<f32>) {
    let gold: Vec<usize> = (0..20).map(|row| row / 10).collect();
    let data = dataset(
        Task::SingleLabel,
        &["on", "off"],
        gold.iter().map(|&class| Target::Class(class as u32)).collect(),
    );
    let mut fp32 = gold.clone();
    fp32[0] = 1;
    let mut int8 = fp32.clone();
    (10..13).for_each(|row| int8[row] = 0);
    (data, one_hot(&fp32, 2), one_hot(&int8, 2))
}

#[test]
fn the_most_frequent_mistakes_are_named() {
    let (gold, said) = ([0, 0, 0, 1, 1, 1, 2, 2], [1, 1, 0, 2, 2, 2, 2, 0]);
    let targets = gold.map(Target::Class).to_vec();
    let data = dataset(Task::SingleLabel, &["a", "b", "c"], targets);
    let logits = one_hot(&said, 3);
    let note = "int8 mistakes most often `b` for `c` 3 times, `a` for `b` 2 times\n";
    assert!(compare(&data, &logits, &logits).text().contains(note));
    // of two classes, recall and precision tell
    let (data, fp32, int8) = on_off();
    assert!(!compare(&data, &fp32, &int8).text().contains("mistakes"));
}

#[test]
fn comparison_by_hand() {
    let (data, fp32, int8) = on_off();
    let comparison = compare(&data, &fp32, &int8);
    assert_eq!(comparison.agreeing, Some(17));
    let test = comparison.mcnemar.unwrap();
    assert_eq!((test.only_fp32, test.only_int8), (3, 0));
    assert!((test.p - 0.25).abs() < 1e-12);
    assert!((comparison.delta + 15.0).abs() < 1e-9);
    // three rows of twenty may be chance, as McNemar's test says too
    let Interval { low, high } = comparison.interval;
    assert!((low + 30.52).abs() < 0.01 && (high - 3.25).abs() < 0.01, "{low} {high}");
    assert_eq!(comparison.largest_logit_difference, 1.0);
    let off = &comparison.per_class[1];
    assert_eq!((off.label.as_str(), off.lost, off.gained, off.fp32.support), ("off", 3, 0, 10));
    assert!((off.delta - (14.0 / 18.0 - 20.0 / 21.0) * 100.0).abs() < 1e-9, "{}", off.delta);
}

#[test]
fn intervals_hold_only_what_a_metric_can_be() {
    let beyond = Interval { low: -130.0, high: 130.0 };
    for metric in [Metric::Accuracy, Metric::MacroF1, Metric::MicroF1, Metric::WeightedF1] {
        assert_eq!(beyond.within(metric), Interval { low: 0.0, high: 100.0 }, "{metric:?}");
    }
    for metric in [Metric::Mcc, Metric::Pearson, Metric::Spearman] {
        assert_eq!(beyond.within(metric), Interval { low: -100.0, high: 100.0 }, "{metric:?}");
    }
    let inside = Interval { low: 20.0, high: 30.0 };
    assert_eq!(inside.within(Metric::Accuracy), inside);
}

#[test]
fn gate_names_the_classes_that_suffered() {
    let (data, fp32, int8) = on_off();
    let comparison = compare(&data, &fp32, &int8);
    let gate = |max_drop, max_drop_per_class| Gate { max_drop, max_drop_per_class }.check(&comparison);
    assert_eq!(gate(None, None), Ok(()));
    assert_eq!(gate(Some(15.0), None), Ok(()), "exactly the limit");
    assert_eq!(
        gate(Some(0.5), None).unwrap_err().to_string(),
        "refused: int8 has accuracy 80.00, fp32 95.00, a drop of 15.00 where max_drop allows 0.50\n\
         classes that suffered (F1 fp32 -> int8):\n  \
         off: 95.24 -> 77.78 (-17.46), 3 of its 10 examples lost\n  \
         on: 94.74 -> 81.82 (-12.92), 0 of its 10 examples lost"
    );
    assert_eq!(
        gate(Some(20.0), Some(15.0)).unwrap_err().to_string(),
        "refused: int8 has accuracy 80.00, fp32 95.00, but classes lost more F1 than max_drop_per_class allows (15)\n\
         classes that suffered (F1 fp32 -> int8):\n  \
         off: 95.24 -> 77.78 (-17.46), 3 of its 10 examples lost"
    );
    // a class that did not suffer is not named
    let (gold, of_int8) = ([0, 0, 1, 1, 2, 2], [0, 1, 1, 0, 2, 2]);
    let three =
        dataset(Task::SingleLabel, &["a", "b", "c"], gold.map(|class| Target::Class(class as u32)).to_vec());
    let lost = compare(&three, &one_hot(&gold, 3), &one_hot(&of_int8, 3));
    let refusal = Gate { max_drop: Some(0.5), max_drop_per_class: None }.check(&lost).unwrap_err();
    let labels: Vec<&str> = refusal.classes.iter().map(|class| class.label.as_str()).collect();
    assert_eq!(labels, ["a", "b"]);
    assert_eq!(
        Gate { max_drop: Some(0.0), max_drop_per_class: Some(0.0) }.check(&compare(&data, &fp32, &fp32)),
        Ok(())
    );
}

#[test]
fn report_in_three_forms() {
    let (data, fp32, int8) = on_off();
    let latency = Some(Latency { p50: 900.4, p90: 1000.0, p99: 1500.0 });
    let comparison = Comparison::new(&Inputs {
        data: &data,
        metric: Some(Metric::MacroF1),
        fp32: Outputs { bytes: Some(8_000_000), latency, ..outputs(&fp32) },
        int8: Outputs { bytes: Some(2_000_000), latency, ..outputs(&int8) },
        host: Some(outputs(&fp32)),
    })
    .unwrap();
    let text = comparison.text();
    let line =
        |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{text}"));
    let cells = |start: &str| line(start).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells("accuracy"), ["accuracy", "95.00", "95.00", "80.00", "-15.00"]);
    assert_eq!(cells("size"), ["size,", "MB", "8.00", "2.00", "x", "0.25"]);
    assert_eq!(cells("p50"), ["p50,", "µs", "900", "900", "x", "1.00"]);
    assert!(line("right in").ends_with("fp32 alone 3, in int8 alone 0: McNemar's exact p 0.250"));
    assert_eq!(cells("off ")[..4], ["off", "10", "100.00", "70.00"]);

    let markdown = comparison.markdown();
    assert!(markdown.starts_with("| 20 examples "), "{markdown}");
    assert!(markdown.lines().filter(|line| line.starts_with('|')).all(|line| line.ends_with('|')));

    let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&comparison).unwrap()).unwrap();
    assert_eq!(json["metric"], "macro-f1");
    assert_eq!(json["size_ratio"], 0.25);
    assert_eq!(json["fp32"]["metrics"]["task"], "single-label");
    assert_eq!(json["per_class"][1]["lost"], 3);
    assert_eq!(json["data_digest"].as_str().map(str::len), Some(64));
}

#[test]
fn one_bundle_is_evaluated_with_its_settings() {
    let (data, _, int8) = on_off();
    let latency = Latency { p50: 900.4, p90: 1000.0, p99: 1500.0 };
    // the logits are 1 and 0: with this temperature the better label has a probability of 0.88
    let decision = Settings { temperature: 0.5, ..Settings::default() };
    let run = BundleRun { logits: int8, latency, bytes: 2_000_000, decision };
    let evaluation = Evaluation::new(&data, &run).unwrap();
    assert!((evaluation.fitted.calibration_after.unwrap() - (0.8808 - 0.8)).abs() < 1e-3);
    let text = evaluation.text();
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or("").to_owned();
    let cells = |start: &str| line(start).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells("accuracy"), ["accuracy", "80.00"]);
    assert_eq!(cells("size"), ["size,", "MB", "2.00"]);
    assert_eq!(cells("off "), ["off", "10", "70.00", "87.50", "77.78"]);
    assert!(text.contains("always `off` is right for 50.00 %"), "{text}");
    assert!(evaluation.markdown().starts_with("| 20 examples "));
    // 60 % of twenty may be luck, half of them is
    let says = |right: usize| {
        let said: Vec<usize> =
            (0..20).map(|row| if row % 10 < right / 2 { row / 10 } else { 1 - row / 10 }).collect();
        let run = BundleRun { logits: one_hot(&said, 2), ..run.clone() };
        Evaluation::new(&data, &run).unwrap().text()
    };
    assert!(
        says(12).contains("50.00 %: these rows do not show that this model has learned more than that\n")
    );
    assert!(says(10).contains("50.00 %: this model has learned no more than that\n"));
    assert!(says(20).contains("50.00 %\n"));
    // of one class alone, nothing is concluded
    let on = dataset(Task::SingleLabel, &["on", "off"], vec![Target::Class(0); 3]);
    let alone = BundleRun { logits: one_hot(&[0, 0, 0], 2), ..run.clone() };
    let alone = Evaluation::new(&on, &alone).unwrap().text();
    assert!(alone.contains("always `on` is right for 100.00 %\n"), "{alone}");
    assert!(alone.lines().any(|line| line.split_whitespace().eq(["off", "0", "-", "-", "-"])), "{alone}");
    let json = serde_json::to_value(&evaluation).unwrap();
    assert_eq!(json["per_class"][1]["recall"], 0.7);
}

#[test]
fn every_task_is_compared() {
    let sets =
        dataset(Task::MultiLabel, &["a", "b|c"], vec![Target::Classes(vec![0, 1]), Target::Classes(vec![])]);
    let comparison = compare(&sets, &[1.0, 1.0, -1.0, -1.0], &[1.0, -1.0, -1.0, -1.0]);
    assert_eq!((comparison.metric, comparison.agreeing), (Metric::MacroF1, Some(1)));
    assert!((comparison.delta + 50.0).abs() < 1e-9);
    assert!(comparison.markdown().contains("b\\|c"));
    let numbers = dataset(Task::Regression, &[], [1.0, 2.0, 3.0].map(Target::number).to_vec());
    let comparison = compare(&numbers, &[1.0, 2.0, 3.0], &[1.0, 2.0, 2.5]);
    assert_eq!((comparison.metric, comparison.agreeing, comparison.mcnemar), (Metric::Pearson, None, None));
    assert!(comparison.delta < 0.0 && comparison.per_class.is_empty());
    assert!(comparison.text().contains("mse"));
    let refusal = Gate { max_drop: Some(0.0), max_drop_per_class: None }.check(&comparison).unwrap_err();
    assert!(refusal.classes.is_empty());
    // equally well correlated, but half as large
    let comparison = compare(&numbers, &[1.0, 2.0, 3.0], &[0.5, 1.0, 1.5]);
    assert!(comparison.delta.abs() < 1e-9);
    let gate = Gate { max_drop: Some(0.5), max_drop_per_class: None };
    let refusal = gate.check(&comparison).unwrap_err().to_string();
    assert!(refusal.contains("differ by 175.00 % of their variance where 5.00 % are allowed"), "{refusal}");
    assert_eq!(Gate::default().check(&comparison), Ok(()));
    assert_eq!(Gate { max_drop: Some(180.0), max_drop_per_class: None }.check(&comparison), Ok(()));
    // of several numbers the worst counts
    let pairs = [[1.0, 30.0], [2.0, 10.0], [3.0, 20.0]];
    let two =
        dataset(Task::Regression, &["a", "b"], pairs.map(|pair| Target::Numbers(pair.to_vec())).to_vec());
    for worst in 0..2 {
        let mut int8 = pairs;
        int8.iter_mut().for_each(|pair| pair[worst] = 0.0);
        let unexplained = compare(&two, &pairs.concat(), &int8.concat()).unexplained_variance.unwrap();
        assert!(unexplained > 1.0, "{worst}: {unexplained}");
    }
    // just within the limit, and with constant gold values
    assert_eq!(gate.check(&compare(&numbers, &[1.0, 2.0, 3.0], &[1.1, 2.1, 3.2])), Ok(()));
    let same = dataset(Task::Regression, &[], [2.0, 2.0].map(Target::number).to_vec());
    assert_eq!(compare(&same, &[1.0, 2.0], &[5.0, 2.0]).unexplained_variance, None);
}

#[test]
fn outputs_have_to_fit() {
    let (data, fp32, mut int8) = on_off();
    let error = |int8: &[f32], metric| {
        let inputs = Inputs { data: &data, metric, fp32: outputs(&fp32), int8: outputs(int8), host: None };
        Comparison::new(&inputs).unwrap_err().to_string()
    };
    assert_eq!(error(&int8[1..], None), "the int8 model: 39 logits where 40 are needed (20 examples of 2)");
    assert_eq!(error(&int8, Some(Metric::Pearson)), "the fp32 model: a single-label task has no pearson");
    int8[6] = f32::INFINITY;
    assert_eq!(error(&int8, None), "the int8 model: example 4 (from 1) has a logit that is not finite");
}
