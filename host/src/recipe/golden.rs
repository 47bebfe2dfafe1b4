//! The messages of a bundle's self-test.

use super::Recipe;
use super::error::RunError;
use super::prepare::Prepared;
use crate::data::Text;
use crate::export;
use goldcrest_edge::bundle::limits;

impl Prepared {
    /// Chooses texts for the bundle's self-test: all of the recipe's file, else evenly spaced dev texts, as
    /// many as fit if they are very long.
    pub fn golden(&self, recipe: &Recipe) -> Result<Vec<Text>, RunError> {
        let Some(path) = &recipe.pack.golden_messages else {
            return Ok(self.golden_of_dev(recipe.pack.golden));
        };
        let text = std::fs::read_to_string(path).map_err(RunError::io(path))?;
        let refused = |problem| Err(RunError::Golden { path: path.clone(), problem });
        let golden = match export::golden_messages(&text, self.dev.is_paired()) {
            Ok(golden) if golden.is_empty() => return refused("it is empty".to_string()),
            Ok(golden) if golden.len() > limits::GOLDEN => {
                let (count, most) = (golden.len(), limits::GOLDEN);
                return refused(format!("{count} messages, and a bundle takes {most}: give fewer"));
            }
            Ok(golden) => golden,
            Err(line) => return refused(format!("line {line} has no tab, and the model reads two texts")),
        };
        let (count, room) = (golden.len(), self.room(golden.len()));
        let bytes: usize = golden.iter().map(bytes_of).sum();
        if bytes > room {
            return refused(format!(
                "{count} messages of {bytes} bytes; with their logits a bundle has room for {room}: give shorter or fewer ones"
            ));
        }
        Ok(golden)
    }

    fn golden_of_dev(&self, most: usize) -> Vec<Text> {
        let rows = self.dev.len();
        let (count, mut room) = (most.min(rows), self.room(most.min(rows)));
        let texts = (0..count).map(|i| &self.dev.examples[i * rows / count]);
        let texts = texts.map(|example| (example.text.clone(), example.pair.clone()));
        texts
            .filter(|text| {
                let left = room.checked_sub(bytes_of(text));
                room = left.unwrap_or(room);
                left.is_some()
            })
            .collect()
    }

    /// Returns the bytes that a bundle has left for the texts of so many messages.
    fn room(&self, messages: usize) -> usize {
        // a logit takes at most five bytes; the rest are length fields
        let beside = self.train.width() * 5 + 16;
        (limits::GOLDEN_BYTES as usize).saturating_sub(messages * beside)
    }
}

fn bytes_of((text, pair): &Text) -> usize {
    text.len() + pair.as_ref().map_or(0, String::len)
}
