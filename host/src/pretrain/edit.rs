//! Edited copies of texts.

use crate::data::{SplitMix, is_invisible};

/// Largest share of words that an edit deletes or replaces.
const DELETED: f64 = 0.45;
const REPLACED: f64 = 0.35;
/// Probability of also swapping two neighbouring words.
const SWAPPED: f64 = 0.3;

/// Returns a text with words deleted, with some replaced by words of `other`, with the end of `other`, or
/// with its parts reordered. Words are separated by blanks, and those of invisible characters alone are
/// dropped; at least one word is left.
pub(super) fn edited(text: &str, other: &str, random: &mut SplitMix) -> String {
    let [mut words, others] = [text, other].map(words);
    if words.is_empty() || others.is_empty() {
        return text.to_owned();
    }
    let first = words[0];
    let all = words.len();
    match random.below(4) {
        0 => {
            let share = DELETED * random.unit();
            words.retain(|_| !random.chance(share));
        }
        1 => {
            let share = REPLACED * random.unit();
            for word in &mut words {
                if random.chance(share) {
                    *word = others[random.below(others.len())];
                }
            }
        }
        2 => {
            words.truncate(random.below(all + 1));
            words.extend(&others[random.below(others.len())..]);
        }
        _ => words.rotate_left(random.below(all)),
    }
    if words.len() > 1 && random.chance(SWAPPED) {
        let at = random.below(words.len() - 1);
        words.swap(at, at + 1);
    }
    if words.is_empty() {
        return first.to_owned();
    }
    words.join(" ")
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().filter(|word| !is_invisible(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_left_of_every_text() {
        let mut random = SplitMix::new(1, 0);
        let texts = ["one", "one \u{200b}", "one two \u{ad} three four five six seven", "", "  "];
        for text in texts {
            for other in texts {
                for _ in 0..100 {
                    let edited = edited(text, other, &mut random);
                    assert_eq!(is_invisible(&edited), is_invisible(text), "{text:?} became {edited:?}");
                }
            }
        }
    }

    #[test]
    fn most_edits_change_a_text_and_keep_some_of_it() {
        let mut random = SplitMix::new(1, 0);
        let (text, other) = ("the lamp in the hall is on", "play some quiet music");
        let all: Vec<String> = (0..200).map(|_| edited(text, other, &mut random)).collect();
        let changed = all.iter().filter(|edited| *edited != text).count();
        let kept = all.iter().filter(|edited| text.split(' ').any(|w| edited.split(' ').any(|e| e == w)));
        assert!(changed > 150 && kept.count() > 150, "{changed} changed");
        assert!(all.iter().any(|edited| edited.contains("music")));
    }
}
