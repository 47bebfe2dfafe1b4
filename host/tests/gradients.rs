//! Checks gradients of whole models and of the distillation objective against finite differences.

mod support;

use goldcrest::bert::ops::Precision;
use goldcrest::bert::{
    Batch, Checkpoint, Classifier, Error, Gradients, Mode, Output, OutputGradient, Tape, Tokens,
    WORD_EMBEDDINGS,
};
use goldcrest::data::{Dataset, Example, Labels, Target, Task};
use goldcrest::distill::{Distill, FromTeacher, HiddenTeacher};
use goldcrest::train::{Answers, Encoded, Objective, Supervised, TrainOptions};
use support::{Random, SHAPES, checkpoint, text};

fn random(random: &mut Random, n: usize) -> Vec<f32> {
    (0..n).map(|_| random.float()).collect()
}

/// Makes a random linear function of all outputs, given by its gradient.
fn upstream(output: &Output, seed: u64) -> OutputGradient {
    let mut r = Random(seed);
    OutputGradient {
        logits: random(&mut r, output.logits.len()),
        cls: Some(random(&mut r, output.cls.len())),
        hidden: output.hidden.iter().map(|x| Some(random(&mut r, x.len()))).collect(),
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Returns the value of that function.
fn value(output: &Output, upstream: &OutputGradient) -> f64 {
    let hidden = output.hidden.iter().zip(&upstream.hidden).map(|(x, g)| dot(x, g.as_ref().unwrap()));
    dot(&output.logits, &upstream.logits)
        + dot(&output.cls, upstream.cls.as_ref().unwrap())
        + hidden.sum::<f64>()
}

/// Returns the derivative of `f` at 0 numerically.
fn numeric(f: impl Fn(f32) -> f64) -> f64 {
    let h = 1e-2f32;
    (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * f64::from(h))
}

/// Checks every weight of plain models and students, along its gradient and along a random direction. Dropout
/// is on: its masks are the same in every pass with the same seed.
#[test]
fn whole_models() {
    for shape in SHAPES.iter().filter(|s| s.layers.len() < 5 && s.hidden < 100) {
        let start = checkpoint(shape, 3);
        let model = Classifier::new(start.clone(), 0).unwrap();
        let mut r = Random(4);
        let texts = [7, 3, 1].map(|n| {
            let (mut ids, type_ids) = text(&mut r, shape.vocabulary, n);
            ids[0] = 2; // a piece that occurs in every text
            Tokens { ids, type_ids }
        });
        let batch = Batch::new(texts.iter(), 0);
        let mode = Mode::Train { seed: 9, precision: Precision::F32 };
        let mut tape = Tape::default();
        let output = model.forward(&batch, mode, &mut tape).unwrap();
        assert_eq!(output.hidden.len(), shape.layers.len());
        let above = upstream(output, 5);
        let mut gradients = Gradients::new(model.weights());
        model.backward(&mut tape, &above, &mut gradients);

        for (name, weight) in model.weights() {
            let mut gradient = vec![0.0; weight.data.len()];
            if name == WORD_EMBEDDINGS {
                let width = weight.shape[1];
                for (row, g) in gradients.rows() {
                    gradient[row as usize * width..][..width].copy_from_slice(g);
                }
            } else {
                gradient.copy_from_slice(gradients.get(name).unwrap_or_else(|| panic!("{name} has none")));
            }
            for direction in [gradient.clone(), random(&mut r, gradient.len())] {
                let length = dot(&direction, &direction).sqrt().max(1e-3);
                let found = dot(&gradient, &direction) / length;
                let wanted = numeric(|distance| {
                    let mut moved: Checkpoint = start.clone();
                    let values = moved.tensors.get_mut(name).unwrap().data.iter_mut().zip(&direction);
                    values.for_each(|(w, d)| *w += distance * d / length as f32);
                    let mut tape = Tape::default();
                    value(
                        Classifier::new(moved, 0).unwrap().forward(&batch, mode, &mut tape).unwrap(),
                        &above,
                    )
                });
                let error = (found - wanted).abs();
                assert!(
                    error < 2e-3 * (1.0 + wanted.abs()),
                    "{}: {name}: {found} but numerically {wanted}",
                    shape.name
                );
            }
        }

        // a second batch adds to the first, even if the tape was used for something else in between
        let once = gradients.clone();
        model.forward(&Batch::new(texts[..1].iter(), 0), Mode::Evaluate, &mut tape).unwrap();
        model.forward(&batch, mode, &mut tape).unwrap();
        model.backward(&mut tape, &above, &mut gradients);
        for name in model.weights().keys().filter(|name| *name != WORD_EMBEDDINGS) {
            let close = |(two, one): (&f32, &f32)| (two - 2.0 * one).abs() < 1e-3 * (1.0 + one.abs());
            let both = gradients.get(name).unwrap().iter().zip(once.get(name).unwrap());
            assert!(both.into_iter().all(close), "{}: {name}", shape.name);
        }
        assert!((gradients.norm() - 2.0 * once.norm()).abs() < 1e-4 * once.norm());
    }
}

/// In bf16, gradients keep their direction, even through nine layers of random weights.
#[test]
fn bf16_keeps_the_direction_of_gradients() {
    let fastest = Precision::fastest();
    if fastest == Precision::F32 {
        return support::skip(format_args!("this processor has no AMX for bf16"));
    }
    let mut used = false;
    for shape in &SHAPES {
        let model = Classifier::new(checkpoint(shape, 3), 0).unwrap();
        let mut r = Random(4);
        let texts: Vec<Tokens> = (0..40)
            .map(|_| {
                let (ids, type_ids) = text(&mut r, shape.vocabulary, 9);
                Tokens { ids, type_ids }
            })
            .collect();
        let batch = Batch::new(texts.iter(), 0);
        let [full, half] = [Precision::F32, fastest].map(|precision| {
            let mut tape = Tape::default();
            let output = model.forward(&batch, Mode::Train { seed: 9, precision }, &mut tape).unwrap();
            let above = upstream(output, 5);
            let mut gradients = Gradients::new(model.weights());
            model.backward(&mut tape, &above, &mut gradients);
            gradients
        });
        for name in model.weights().keys().filter(|name| *name != WORD_EMBEDDINGS) {
            let (full, half) = (full.get(name).unwrap(), half.get(name).unwrap());
            used |= full != half;
            let cosine = dot(full, half) / (dot(full, full) * dot(half, half)).sqrt().max(1e-12);
            // of the keys' bias, whose gradient is zero, only errors are left
            assert!(cosine > 0.99 || name.ends_with("key.bias"), "{}: {name}: {cosine}", shape.name);
        }
    }
    assert!(used, "no model is large enough");
}

#[test]
fn modes_agree_and_ids_out_of_range_are_refused() {
    let mut start = checkpoint(&SHAPES[3], 3);
    start.config.hidden_dropout_prob = 0.0;
    start.config.attention_probs_dropout_prob = 0.0;
    let model = Classifier::new(start, 0).unwrap();
    let batch = |ids: &[u32], type_id| {
        let tokens = Tokens { ids: ids.to_vec(), type_ids: vec![type_id; ids.len()] };
        Batch::new([&tokens].into_iter(), 0)
    };
    let mut tape = Tape::default();
    let mut run = |mode| model.forward(&batch(&[2, 7, 9], 1), mode, &mut tape).unwrap().clone();
    let wanted = run(Mode::Evaluate);
    assert_eq!(
        [run(Mode::Differentiate), run(Mode::Train { seed: 3, precision: Precision::F32 })],
        [wanted.clone(), wanted]
    );

    let mut refused = |batch: Batch| model.forward(&batch, Mode::Evaluate, &mut tape).unwrap_err();
    assert!(matches!(refused(batch(&[2, 120], 0)), Error::Id { id: 120, rows: 120, .. }));
    assert!(matches!(refused(batch(&[2], 2)), Error::Id { id: 2, rows: 2, .. }));
    assert!(matches!(refused(batch(&[1; 34], 0)), Error::Config(_)));
}

/// Checks all parts of the distillation loss at once, for every value of the output.
#[test]
fn distillation_objective() {
    let (texts, labels, hidden) = (4, 3, SHAPES[3].hidden);
    let teacher = Classifier::new(checkpoint(&SHAPES[3], 8), 0).unwrap();
    let mut r = Random(1);
    let mut tokens = |n: usize| {
        let (ids, type_ids) = text(&mut r, SHAPES[3].vocabulary, n);
        Tokens { ids, type_ids }
    };
    let tokens = vec![tokens(3), tokens(2), tokens(3), tokens(1)];
    let batch = Batch::new(tokens.iter(), 0);
    let output = Output {
        logits: random(&mut r, texts * labels),
        cls: random(&mut r, texts * hidden),
        hidden: (0..2).map(|_| random(&mut r, texts * 3 * hidden)).collect(),
    };
    for task in [Task::SingleLabel, Task::MultiLabel] {
        let target = |i: u32| match task {
            Task::MultiLabel => Target::Classes(vec![i % 3, 2]),
            _ => Target::Class(i % 3),
        };
        let example = |i| Example::new(format!("{i}"), target(i));
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let data = Dataset {
            task,
            labels: Labels::ordered(names).unwrap(),
            examples: (0..4).map(example).collect(),
            files: Vec::new(),
        };
        let encoded = Encoded { data: data.into(), tokens: tokens.clone(), windows: None, truncated: 0 };
        for cls_width in [hidden, 10] {
            let mut r = Random(2);
            let answers =
                Answers { logits: random(&mut r, texts * labels), cls: random(&mut r, texts * cls_width) };
            let options = Distill {
                alpha_hard: 0.3,
                cls_weight: Some(2.0),
                hidden_weight: 5.0,
                relation_weight: 3.0,
                ..Distill::default()
            };
            let objective = FromTeacher {
                answers: &answers,
                hard: Supervised::new(&encoded.data, &TrainOptions::default()).unwrap(),
                gold: 2,
                options: &options,
                teacher: Some(HiddenTeacher::new(&teacher, vec![1, 2])),
            };
            let rows = [3, 0, 2, 1];
            let loss = |output: &Output| objective.loss(&encoded, &rows, &batch, output).unwrap();
            let (_, gradient) = loss(&output);
            let check = |what: &str, i: usize, found: f32, at: &dyn Fn(&mut Output) -> &mut f32| {
                let wanted = numeric(|distance| {
                    let mut moved = output.clone();
                    *at(&mut moved) += distance;
                    loss(&moved).0
                });
                assert!(
                    (f64::from(found) - wanted).abs() < 1e-4 * (1.0 + wanted.abs()),
                    "{task:?} {cls_width}: {what}[{i}]: {found} but numerically {wanted}"
                );
            };
            for (i, g) in gradient.logits.iter().enumerate() {
                check("logits", i, *g, &|o| &mut o.logits[i]);
            }
            for (i, g) in gradient.cls.as_ref().unwrap().iter().enumerate() {
                check("cls", i, *g, &|o| &mut o.cls[i]);
            }
            assert!(gradient.hidden[0].is_none() && gradient.hidden.len() == 2);
            for (i, g) in gradient.hidden[1].as_ref().unwrap().iter().enumerate().step_by(7) {
                check("hidden", i, *g, &|o| &mut o.hidden[1][i]);
            }
        }
    }
}

#[test]
fn distillation_losses_are_those_of_the_definition() {
    let (labels, hidden) = (3, SHAPES[3].hidden);
    let teacher = Classifier::new(checkpoint(&SHAPES[3], 8), 0).unwrap();
    let mut r = Random(1);
    let tokens = [3, 2, 3, 1].map(|n| {
        let (ids, type_ids) = text(&mut r, SHAPES[3].vocabulary, n);
        Tokens { ids, type_ids }
    });
    let batch = Batch::new(tokens.iter(), 0);
    let output = Output {
        logits: random(&mut r, 4 * labels),
        cls: random(&mut r, 4 * hidden),
        hidden: (0..2).map(|_| random(&mut r, 4 * 3 * hidden)).collect(),
    };
    let data = Dataset {
        task: Task::SingleLabel,
        labels: Labels::ordered(["a", "b", "c"].map(String::from).to_vec()).unwrap(),
        examples: (0..4).map(|i| Example::new(format!("{i}"), Target::Class(i % 3))).collect(),
        files: Vec::new(),
    };
    let encoded = Encoded { data: data.into(), tokens: tokens.to_vec(), windows: None, truncated: 0 };
    let answers = Answers { logits: random(&mut r, 4 * labels), cls: random(&mut r, 4 * hidden) };
    let rows = [3, 0, 2, 1];
    let loss = |options: Distill| {
        let objective = FromTeacher {
            answers: &answers,
            hard: Supervised::new(&encoded.data, &TrainOptions::default()).unwrap(),
            gold: 2,
            options: &options,
            teacher: Some(HiddenTeacher::new(&teacher, vec![1, 2])),
        };
        objective.loss(&encoded, &rows, &batch, &output).unwrap()
    };
    let none =
        Distill { cls_weight: Some(0.0), hidden_weight: 0.0, relation_weight: 0.0, ..Distill::default() };
    // only rows 0 and 1, which are second and last in the batch, have a gold label; the mean is over all four
    let (found, gradient) = loss(Distill { alpha_hard: 1.0, ..none.clone() });
    let cross_entropy = |at: usize, class: usize| {
        let logits: Vec<f64> = output.logits[at * labels..][..labels].iter().map(|x| f64::from(*x)).collect();
        logits.iter().map(|x| x.exp()).sum::<f64>().ln() - logits[class]
    };
    let wanted = (cross_entropy(1, 0) + cross_entropy(3, 1)) / 4.0;
    assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
    assert!(
        gradient
            .logits
            .chunks(labels)
            .map(|row| row.iter().any(|g| *g != 0.0))
            .eq([false, true, false, true])
    );
    // at a temperature, the divergence of softened probabilities, times its square (Hinton et al., arXiv 1503.02531)
    let (found, _) = loss(Distill { alpha_hard: 0.0, temperature: 3.0, ..none.clone() });
    let softened = |logits: &[f32]| {
        let powers: Vec<f64> = logits.iter().map(|x| (f64::from(*x) / 3.0).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(move |power| power / sum)
    };
    let divergence = |at: usize, row: usize| -> f64 {
        let of_teacher = softened(&answers.logits[row * labels..][..labels]);
        of_teacher.zip(softened(&output.logits[at * labels..][..labels])).map(|(p, q)| p * (p / q).ln()).sum()
    };
    let wanted = (0..).zip(rows).map(|(at, row)| 9.0 * divergence(at, row as usize)).sum::<f64>() / 4.0;
    assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
    // the output of the student's first layer learns from that of the teacher's second
    let plain = loss(Distill { alpha_hard: 0.0, ..none.clone() });
    let (found, gradient) = loss(Distill { alpha_hard: 0.0, hidden_weight: 5.0, ..none });
    let mut tape = Tape::default();
    let states = &teacher.forward(&batch, Mode::Evaluate, &mut tape).unwrap().hidden[2];
    let real: Vec<usize> = batch.tokens().enumerate().filter(|(_, real)| *real).map(|(row, _)| row).collect();
    assert_eq!(real.len(), 9);
    let values: Vec<usize> = real.iter().flat_map(|row| row * hidden..(row + 1) * hidden).collect();
    let differences = values.iter().map(|i| (*i, f64::from(output.hidden[1][*i] - states[*i])));
    let mean = differences.clone().map(|(_, d)| d * d).sum::<f64>() / values.len() as f64;
    assert!((found - plain.0 - 5.0 * mean).abs() < 1e-5, "{found} {} {mean}", plain.0);
    let gradient = gradient.hidden[1].as_ref().unwrap();
    for (i, difference) in differences {
        let wanted = 5.0 * 2.0 * difference / values.len() as f64;
        assert!((f64::from(gradient[i]) - wanted).abs() < 1e-6, "{i}: {} {wanted}", gradient[i]);
    }
}
