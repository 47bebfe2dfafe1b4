//! The output of `goldcrest-edge classify --format jsonl --logits`.

use serde_json::Value;

/// The record of one message.
#[derive(Debug, PartialEq)]
pub struct Record {
    /// Number of the message, counted from 1.
    pub n: u64,
    /// The answer, or why there is none.
    pub answer: Result<Answer, String>,
}

/// An answer and the logits behind it.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// Everything except logits and scores: label, tokens and other fields.
    pub rest: Value,
    /// The label's probability, or the value of a regression; `None` without a single label.
    pub score: Option<f64>,
    /// One logit per label.
    pub logits: Vec<f32>,
}

/// Reads JSON Lines.
///
/// # Panics
/// If a line is not such a record.
pub fn records(output: &[u8]) -> Vec<Record> {
    let text = std::str::from_utf8(output).expect("records are UTF-8");
    text.lines().map(|line| record(line).unwrap_or_else(|| panic!("not a record: {line}"))).collect()
}

fn record(line: &str) -> Option<Record> {
    let mut value: Value = serde_json::from_str(line).ok()?;
    let fields = value.as_object_mut()?;
    let n = fields.remove("n")?.as_u64()?;
    if let Some(error) = fields.get("error") {
        return Some(Record { n, answer: Err(error.as_str()?.to_owned()) });
    }
    let score = fields.get("score").and_then(Value::as_f64);
    let logits = fields.remove("logits")?;
    let logits = logits.as_array()?.iter().map(|bits| float(bits.as_str()?)).collect::<Option<Vec<f32>>>()?;
    remove_scores(&mut value);
    Some(Record { n, answer: Ok(Answer { rest: value, score, logits }) })
}

/// Removes scores, which follow from the logits; those are compared by themselves.
fn remove_scores(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("score");
            fields.values_mut().for_each(remove_scores);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_scores),
        _ => {}
    }
}

/// Parses 8 hex digits as the bits of an `f32`.
fn float(hex: &str) -> Option<f32> {
    (hex.len() == 8).then_some(())?;
    u32::from_str_radix(hex, 16).ok().map(f32::from_bits)
}

/// The difference of two runs over the same messages.
#[derive(Debug, Default)]
pub struct Difference {
    /// Number of logits compared.
    pub logits: usize,
    /// Number of logits that differ in at least one bit.
    pub logits_differing: usize,
    /// Number of differing bits, of 32 per logit.
    pub bits: u64,
    /// Largest absolute difference of two logits.
    pub largest: f32,
}

/// Compares two runs. Labels, token counts and errors must be equal; the logits' difference is returned.
///
/// # Errors
/// The first message whose record differs in more than logits and score.
pub fn compare(expected: &[Record], got: &[Record]) -> Result<Difference, String> {
    if expected.len() != got.len() {
        return Err(format!("{} records where {} were expected", got.len(), expected.len()));
    }
    let mut difference = Difference::default();
    for (expected, got) in expected.iter().zip(got) {
        let same = expected.n == got.n
            && match (&expected.answer, &got.answer) {
                (Ok(a), Ok(b)) => a.rest == b.rest && a.logits.len() == b.logits.len(),
                (a, b) => a == b,
            };
        if !same {
            return Err(format!("expected {expected:?}\n     got {got:?}"));
        }
        let (Ok(a), Ok(b)) = (&expected.answer, &got.answer) else { continue };
        for (a, b) in a.logits.iter().zip(&b.logits) {
            let bits = (a.to_bits() ^ b.to_bits()).count_ones();
            difference.logits += 1;
            difference.logits_differing += usize::from(bits > 0);
            difference.bits += u64::from(bits);
            difference.largest = difference.largest.max((a - b).abs());
            if a.is_nan() || b.is_nan() {
                return Err(format!("message {}: a logit is not a number", expected.n));
            }
        }
    }
    Ok(difference)
}
