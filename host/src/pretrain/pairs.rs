use super::edit::edited;
use crate::bert::ops::{nearest, unit_rows};
use crate::bert::{Classifier, Pooling};
use crate::data::{Dataset, Example, SplitMix, Target};
use crate::train::{Encoded, Error, sentence_vectors};

/// Maximum number of texts that pairs are made from: each is compared with every other.
const TEXTS: usize = 20_000;
/// If both texts of a pair are given ones, the second is among this many nearest neighbours of the first,
/// nearer ones being more likely.
const NEIGHBOURS: usize = 32;

/// Makes pairs of texts, scored by a sentence encoder that reads each text by itself: the cosine of the two
/// vectors, standardised over all pairs to mean 0 and standard deviation 1.
///
/// Half of the pairs are a text and a near neighbour, an eighth are two random texts. The rest are a text and
/// an edited copy: with words deleted or replaced, with the end of another text, or with its parts reordered.
/// `done` receives the number of texts read so far and in total.
///
/// This reverses Augmented SBERT (Thakur et al., arXiv 2010.08240), where a model that reads both texts
/// together teaches one that reads each alone.
///
/// # Errors
/// If there are fewer than two texts, or the model cannot read one.
pub fn pairs(
    model: &Classifier,
    pooling: Pooling,
    mut texts: Vec<String>,
    count: usize,
    max_tokens: usize,
    seed: u64,
    done: &mut dyn FnMut(usize, usize),
) -> Result<Dataset, Error> {
    let mut random = SplitMix::new(seed, 3);
    random.shuffle(&mut texts);
    texts.truncate(TEXTS);
    let rows = texts.len();
    if rows < 2 {
        return Err(Error::Empty);
    }
    let mut edits = Vec::new();
    let draw = |i: usize| {
        let first = i % rows;
        let other = (first + 1 + random.below(rows - 1)) % rows;
        let second = match random.below(8) {
            0..4 => Second::Near(geometric(NEIGHBOURS.min(rows - 1), &mut random)),
            4 => Second::Row(other),
            _ => {
                edits.push(edited(&texts[first], &texts[other], &mut random));
                Second::Row(rows + edits.len() - 1)
            }
        };
        // swap at random: the order must not reveal the edited text
        (first, second, random.chance(0.5))
    };
    let drawn: Vec<(usize, Second, bool)> = (0..count).map(draw).collect();
    texts.extend(edits);

    let all = texts.len();
    let encoded = Encoded::new(alone(&texts), model.tokenizer(), max_tokens)?;
    let vectors = sentence_vectors(model, pooling, &encoded, &mut |read| done(read, all))?;
    let width = vectors.len() / all;
    let (unit, _) = unit_rows(&vectors, all);
    let near = nearest(&unit[..rows * width], rows, NEIGHBOURS, f32::NEG_INFINITY);
    let example = |(first, second, turned): (usize, Second, bool)| {
        let second = match second {
            Second::Near(rank) => near[first].get(rank).map_or(first, |row| *row as usize),
            Second::Row(row) => row,
        };
        let vector = |row: usize| &unit[row * width..][..width];
        let cosine = vector(first).iter().zip(vector(second)).map(|(a, b)| a * b).sum();
        let [text, pair] =
            if turned { [second, first] } else { [first, second] }.map(|row| texts[row].clone());
        Example { target: Target::number(cosine), ..Example::unlabelled((text, Some(pair))) }
    };
    let mut examples: Vec<Example> = drawn.into_iter().map(example).collect();
    normalise(&mut examples);
    random.shuffle(&mut examples);
    Ok(Dataset::of_numbers(examples))
}

/// The second text of a pair.
enum Second {
    /// The neighbour of this rank, counted from 0.
    Near(usize),
    /// The text with this index; edits come after all given texts.
    Row(usize),
}

fn alone(texts: &[String]) -> Dataset {
    Dataset::unlabelled(texts.iter().map(|text| (text.clone(), None)))
}

/// Draws a number below `bound` from a geometric distribution, with mean about 4 if `bound` is large.
fn geometric(bound: usize, random: &mut SplitMix) -> usize {
    (0..bound).find(|_| random.chance(0.2)).unwrap_or(0)
}

/// Standardises the targets to mean 0 and standard deviation 1.
fn normalise(examples: &mut [Example]) {
    let mut values: Vec<&mut f32> = examples
        .iter_mut()
        .filter_map(|example| match &mut example.target {
            Target::Numbers(numbers) => numbers.first_mut(),
            Target::Class(_) | Target::Classes(_) => None,
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

    /// Makes an encoder with random weights that reads single letters.
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
    fn scores_follow_the_cosines_of_separate_vectors() {
        let model = encoder();
        let (mut read, mut all) = (0, 0);
        let data = pairs(&model, Pooling::Mean, texts(), 400, 24, 5, &mut |read_now, of| {
            (read, all) = (read_now, of)
        })
        .unwrap();
        assert_eq!(data.len(), 400);
        assert!(read == all && (180..240).contains(&all), "{read} of {all}");
        let again = pairs(&model, Pooling::Mean, texts(), 400, 24, 5, &mut |_, _| ()).unwrap();
        assert_eq!(data, again);
        let value = |example: &Example| f64::from(example.target.numbers()[0]);
        let mean = data.examples.iter().map(value).sum::<f64>() / 400.0;
        let variance = data.examples.iter().map(|e| value(e).powi(2)).sum::<f64>() / 400.0;
        assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4, "{mean} {variance}");

        // the scores are a linear function of the cosines
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
        let data = pairs(&encoder(), Pooling::Cls, texts(), 800, 24, 5, &mut |_, _| ()).unwrap();
        let both = |e: &&Example| given.contains_key(&e.text) && given.contains_key(e.pair.as_ref().unwrap());
        let of_given = data.examples.iter().filter(both).count();
        // a few edits leave the text unchanged
        assert!((480..620).contains(&of_given), "{of_given}");
        assert!(matches!(
            pairs(&encoder(), Pooling::Cls, vec!["a".into()], 9, 24, 5, &mut |_, _| ()),
            Err(Error::Empty)
        ));
    }
}
