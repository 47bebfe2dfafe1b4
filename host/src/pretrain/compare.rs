use super::edit::edited;
use crate::bert::ops::{nearest, unit_rows};
use crate::bert::{Classifier, Pooling};
use crate::data::{Dataset, Example, Labels, SplitMix, Target, Task};
use crate::train::{Encoded, Error, sentence_vectors};

/// Texts that pairs are made of, at most: all are compared with all.
const TEXTS: usize = 20_000;
/// The second text of a pair of two given ones is among so many nearest to the first, the nearer the likelier.
const NEIGHBOURS: usize = 32;

/// Pairs of texts with how alike an encoder that reads each alone says they are: the cosine of both vectors, less the mean of
/// all pairs and divided by their standard deviation.
///
/// Half of the pairs are a text and one of those nearest to it, an eighth are two texts at random, the rest a text and the same
/// text with words left out or replaced, with the end of another one, or with its parts in another order. `done` gets how many
/// texts were read.
///
/// The other way round it is Augmented SBERT (Thakur et al., arXiv 2010.08240): there a model that reads both texts together
/// teaches one that reads each alone.
///
/// # Errors
/// When there are fewer than two texts, or the model cannot read one.
pub fn pairs(
    model: &Classifier,
    pooling: Pooling,
    mut texts: Vec<String>,
    count: usize,
    max_tokens: usize,
    seed: u64,
    done: &mut dyn FnMut(usize),
) -> Result<Dataset, Error> {
    let mut random = SplitMix::new(seed, 3);
    random.shuffle(&mut texts);
    texts.truncate(TEXTS);
    let rows = texts.len();
    if rows < 2 {
        return Err(Error::Empty);
    }
    let mut vectors = |texts: &[String], before: usize| -> Result<Vec<f32>, Error> {
        let encoded = Encoded::new(alone(texts), model.tokenizer(), max_tokens)?;
        let vectors = sentence_vectors(model, pooling, &encoded, &mut |n| done(before + n))?;
        Ok(unit_rows(&vectors, texts.len()).0)
    };
    let given = vectors(&texts, 0)?;
    let near = nearest(&given, rows, NEIGHBOURS, -1.0);
    let mut edits = Vec::new();
    // the first text, the second one if it is among the given, otherwise the last of the edits
    let drawn: Vec<(usize, Option<usize>)> = (0..count)
        .map(|i| {
            let first = i % rows;
            let other = (first + 1 + random.below(rows - 1)) % rows;
            match random.below(8) {
                0..4 => (first, Some(near[first][geometric(near[first].len(), &mut random)] as usize)),
                4 => (first, Some(other)),
                _ => {
                    edits.push(edited(&texts[first], &texts[other], &mut random));
                    (first, None)
                }
            }
        })
        .collect();
    let made = vectors(&edits, rows)?;

    let width = given.len() / rows;
    let mut edits = edits.into_iter().zip(made.chunks_exact(width));
    let mut examples = Vec::with_capacity(count);
    for (first, second) in drawn {
        let vector = |row: usize| &given[row * width..][..width];
        let (other, of_other) = match second {
            Some(second) => (texts[second].clone(), vector(second)),
            None => edits.next().expect("one for each that has no given second text"),
        };
        let cosine = vector(first).iter().zip(of_other).map(|(a, b)| a * b).sum();
        // which of the two is the edited one shall not be seen from their order
        let (text, pair) = match random.chance(0.5) {
            true => (texts[first].clone(), other),
            false => (other, texts[first].clone()),
        };
        examples.push(Example { text, pair: Some(pair), target: Target::Value(cosine), file: 0, line: 0 });
    }
    normalise(&mut examples);
    random.shuffle(&mut examples);
    Ok(Dataset { task: Task::Regression, labels: Labels::default(), examples, files: Vec::new() })
}

/// Texts without pair or label.
fn alone(texts: &[String]) -> Dataset {
    let target = Target::Value(0.0);
    let example =
        |text: &String| Example { text: text.clone(), pair: None, target: target.clone(), file: 0, line: 0 };
    let examples = texts.iter().map(example).collect();
    Dataset { task: Task::Regression, labels: Labels::default(), examples, files: Vec::new() }
}

/// A number below `bound`, each less likely than the one before: the mean is about 4 where there is room.
fn geometric(bound: usize, random: &mut SplitMix) -> usize {
    (0..bound).find(|_| random.chance(0.2)).unwrap_or(0)
}

/// Numbers to a mean of 0 and a standard deviation of 1.
fn normalise(examples: &mut [Example]) {
    let mut values: Vec<&mut f32> = examples
        .iter_mut()
        .filter_map(|example| match &mut example.target {
            Target::Value(value) => Some(value),
            _ => None,
        })
        .collect();
    let count = values.len() as f64;
    let mean = values.iter().map(|x| f64::from(**x)).sum::<f64>() / count;
    let variance = values.iter().map(|x| (f64::from(**x) - mean).powi(2)).sum::<f64>() / count;
    let deviation = variance.sqrt().max(1e-6);
    values.iter_mut().for_each(|x| **x = ((f64::from(**x) - mean) / deviation) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bert::{Checkpoint, Config, TokenizerFiles};
    use std::collections::{BTreeMap, HashMap};

    /// An encoder with random weights that reads single letters.
    fn encoder() -> Classifier {
        let config: Config = serde_json::from_value(serde_json::json!({
            "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
            "max_position_embeddings": 24,
        }))
        .unwrap();
        let pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(str::to_owned).into_iter();
        let vocab = pieces.chain(('a'..='z').map(String::from)).map(|piece| piece + "\n").collect();
        let tokenizer = TokenizerFiles {
            vocab,
            lowercase: true,
            strip_accents: None,
            chinese_chars: true,
            max_length: 24,
        };
        Classifier::new(Checkpoint { config, tensors: BTreeMap::new(), tokenizer }, 1).unwrap()
    }

    fn texts() -> Vec<String> {
        let letter = |i: usize| char::from(b'a' + (i % 26) as u8);
        (0..60).map(|i| format!("{} {} {}", letter(i), letter(i * 5 + 1), letter(i / 3))).collect()
    }

    #[test]
    fn pairs_are_as_alike_as_their_texts_read_alone() {
        let model = encoder();
        let mut read = 0;
        let data = pairs(&model, Pooling::Mean, texts(), 400, 24, 5, &mut |n| read = n).unwrap();
        assert_eq!(data.len(), 400);
        let again = pairs(&model, Pooling::Mean, texts(), 400, 24, 5, &mut |_| ()).unwrap();
        assert_eq!(data, again);
        let value = |example: &Example| match example.target {
            Target::Value(value) => f64::from(value),
            _ => unreachable!(),
        };
        let mean = data.examples.iter().map(value).sum::<f64>() / 400.0;
        let variance = data.examples.iter().map(|e| value(e).powi(2)).sum::<f64>() / 400.0;
        assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4, "{mean} {variance}");

        // the numbers rise with the cosines of the vectors, in a straight line
        let all: Vec<String> =
            data.examples.iter().flat_map(|e| [e.text.clone(), e.pair.clone().unwrap()]).collect();
        let encoded = Encoded::new(alone(&all), model.tokenizer(), 24).unwrap();
        let vectors = sentence_vectors(&model, Pooling::Mean, &encoded, &mut |_| ()).unwrap();
        let cosine = |row: usize| {
            let [a, b] = [0, 1].map(|side| &vectors[(2 * row + side) * 16..][..16]);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let (least, most) = (0..400).map(cosine).fold((1.0, -1.0), |(l, m), c| (c.min(l), c.max(m)));
        let at =
            |wanted: f64| (0..400).find(|i| cosine(*i) == wanted).map(|i| value(&data.examples[i])).unwrap();
        let slope = (at(most) - at(least)) / (most - least);
        for (i, example) in data.examples.iter().enumerate() {
            let wanted = at(least) + slope * (cosine(i) - least);
            assert!((value(example) - wanted).abs() < 1e-2, "{example:?}: {wanted}");
        }
    }

    #[test]
    fn about_a_third_are_edits_and_most_of_the_others_are_near() {
        let given: HashMap<String, usize> = texts().into_iter().zip(0..).collect();
        let data = pairs(&encoder(), Pooling::Cls, texts(), 800, 24, 5, &mut |_| ()).unwrap();
        let both = |e: &&Example| given.contains_key(&e.text) && given.contains_key(e.pair.as_ref().unwrap());
        let of_given = data.examples.iter().filter(both).count();
        // a few edits change nothing
        assert!((480..620).contains(&of_given), "{of_given}");
        assert!(matches!(
            pairs(&encoder(), Pooling::Cls, vec!["a".into()], 9, 24, 5, &mut |_| ()),
            Err(Error::Empty)
        ));
    }
}
