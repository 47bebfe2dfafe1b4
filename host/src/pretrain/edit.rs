//! Texts that are nearly another one.

use crate::data::{SplitMix, says_nothing};

/// How many words an edit leaves out or replaces, at most, in parts of all.
const LEFT_OUT: f64 = 0.45;
const REPLACED: f64 = 0.35;
/// How often two neighbouring words change places besides.
const SWAPPED: f64 = 0.3;

/// A text with words left out, with words of `other` in the place of some, with the end of `other`, or with its parts in another
/// order. Words are what blanks separate, without those of unseen characters alone; at least one is left.
pub(super) fn edited(text: &str, other: &str, random: &mut SplitMix) -> String {
    let [mut words, others] = [text, other].map(words);
    if words.is_empty() || others.is_empty() {
        return text.to_owned();
    }
    let first = words[0];
    let all = words.len();
    match random.below(4) {
        0 => {
            let share = LEFT_OUT * random.unit();
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
    text.split_whitespace().filter(|word| !says_nothing(word)).collect()
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
                    assert_eq!(says_nothing(&edited), says_nothing(text), "{text:?} became {edited:?}");
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
