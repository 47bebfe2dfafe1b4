//! Several threads give the same answers as one, to the byte: a backlog, long texts,
//! invalid messages, windows.
mod common;

use bytes::Bytes;
use common::{altered, shipped};
use goldcrest_edge::bundle::{Bundle, Windows};
use goldcrest_edge::model::{self, Model, Part};
use goldcrest_edge::stream::{self, Format, Interrupt, Lines, Records, Source, ThreadedRecords};
use goldcrest_edge::tokenizer::Encoding;
use goldcrest_edge::{Classifier, Options};
use std::io::{self, Read};
use std::thread;

fn windows(bytes: &[u8]) -> Vec<u8> {
    altered(bytes, |manifest| {
        manifest.max_tokens = 24;
        manifest.windows = Windows::Mean { overlap: 4, most: 9 };
    })
}

/// Returns short, long, empty and invalid messages in irregular order.
fn messages() -> Vec<u8> {
    let words = ["good", "bad", "day", ",", "a film", "that I", "will", "never", "forget", "b\u{e4}d"];
    let mut out = vec![];
    let mut seed = 1u32;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % below
    };
    for _ in 0..120 {
        let length = [0, 1, 3, 8, 20, 100, 400][random(7) as usize];
        for _ in 0..length {
            out.extend_from_slice(words[random(words.len() as u32) as usize].as_bytes());
            out.push(b' ');
        }
        if random(9) == 0 {
            out.extend_from_slice(b"\xff and more");
        }
        out.push(b'\n');
    }
    out.extend_from_slice(b"the last one has no end");
    out
}

/// Yields at most the given number of bytes per read.
struct Dribble<'a>(&'a [u8], usize);

impl Source for Dribble<'_> {
    fn may_wait(&self) -> bool {
        true
    }

    fn wait(&self, _: &Interrupt) -> bool {
        true
    }
}

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.1.min(buffer.len());
        self.0.read(&mut buffer[..length])
    }
}

/// Returns the output for `input`, and the number of messages without an answer.
fn run(bundle: &[u8], fuse: bool, threads: usize, mut input: Dribble<'_>) -> (String, u64) {
    let classifier = Classifier::new(bundle.to_vec(), &Options { fuse, ..Options::default() }).unwrap();
    let options = stream::Options { format: Format::Jsonl, top: 2, logits: true, separator: None };
    let (mut lines, interrupt, mut out) = (Lines::default(), Interrupt::new().unwrap(), vec![]);
    let errors = if threads == 1 {
        let mut records = Records::new(classifier, &mut out, options);
        lines.run(&mut input, &mut records, &interrupt).unwrap();
        records.errors()
    } else {
        let mut threaded = classifier.into_threaded(threads).unwrap();
        let mut backlog = ThreadedRecords::new(&mut threaded, &mut out, options);
        lines.run(&mut input, &mut backlog, &interrupt).unwrap();
        backlog.errors()
    };
    (String::from_utf8(out).unwrap(), errors)
}

#[test]
fn any_number_of_threads_writes_the_same_bytes() {
    let moods = common::bundle(&common::manifest());
    let failing = windows(&common::failing_on_commas(&common::manifest()));
    let mut bundles = vec![("moods", windows(&moods), false), ("moods, truncated", moods, false)];
    bundles.push(("some windows fail", failing, false));
    let shipped = shipped();
    bundles.push(("windows", windows(&shipped), true));
    bundles.push(("short", altered(&shipped, |manifest| manifest.max_tokens = 16), true));
    bundles.push(("as shipped", shipped, true));
    let input = messages();
    for (name, bundle, fuse) in bundles {
        let one = run(&bundle, fuse, 1, Dribble(&input, usize::MAX));
        assert_eq!(one.0.lines().count(), 121);
        assert!(one.1 > 0, "no wrong messages");
        for threads in [2, 3, 5] {
            // everything at once, and in pieces that rarely contain a whole message
            for piece in [usize::MAX, 100] {
                let several = run(&bundle, fuse, threads, Dribble(&input, piece));
                assert!(one == several, "{name}, {threads} threads, {piece} bytes a read");
            }
        }
    }
}

#[test]
fn answers_belong_to_their_messages_however_it_is_called() {
    let mut one = Classifier::new(shipped(), &Options::default()).unwrap();
    let texts = ["a warm, funny film", "two hours of my life", "dull and far too long"];
    let alone: Vec<Vec<f32>> =
        texts.iter().map(|text| one.classify(text, None).unwrap().logits.to_vec()).collect();
    let mut threaded = one.share().unwrap().into_threaded::<()>(2).unwrap();
    let mut answers = vec![];
    // reads all messages without calling `start`
    for (number, text) in (0..).zip(texts) {
        threaded.read(number, &mut |input| {
            input.push(text);
            Ok(())
        });
    }
    while let Some((number, answer)) = threaded.answer() {
        answers.push((number as usize, answer.unwrap().unwrap().logits.to_vec()));
    }
    assert_eq!(answers, alone.into_iter().enumerate().collect::<Vec<_>>());
}

#[test]
fn one_thread_answers_without_waiting() {
    let mut threaded =
        Classifier::new(shipped(), &Options::default()).unwrap().into_threaded::<()>(0).unwrap();
    assert!(format!("{threaded:?}").contains("threads: 1"), "0 is taken as 1");
    threaded.read(7, &mut |input| {
        input.push("a warm, funny film");
        Ok(())
    });
    let number = threaded.try_answer().map(|(number, _)| number);
    assert_eq!(number, Some(7));
}

#[test]
fn a_sink_gets_no_answers_of_the_one_before() {
    let mut threaded = Classifier::new(shipped(), &Options::default()).unwrap().into_threaded(2).unwrap();
    let options = stream::Options::default();
    let (mut lines, interrupt, mut out) = (Lines::default(), Interrupt::new().unwrap(), vec![]);
    let mut full: [u8; 0] = [];
    let mut broken = ThreadedRecords::new(&mut threaded, &mut full[..], options);
    assert!(lines.run(&mut &b"one\ntwo\nthree\nfour\nfive\n"[..], &mut broken, &interrupt).is_err());
    let mut records = ThreadedRecords::new(&mut threaded, &mut out, options);
    Lines::default().run(&mut &b"six\n"[..], &mut records, &interrupt).unwrap();
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
}

#[test]
fn sockets_are_sources() {
    let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    io::Write::write_all(&mut theirs, b"one\ntwo").unwrap();
    drop(theirs);
    let classifier = Classifier::new(shipped(), &Options::default()).unwrap();
    let mut out = vec![];
    let mut records = Records::new(classifier, &mut out, stream::Options::default());
    Lines::default().run(&mut ours, &mut records, &Interrupt::new().unwrap()).unwrap();
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 2);
}

#[test]
fn a_shared_classifier_gives_the_same_logits_on_another_thread() {
    let mut one = Classifier::new(shipped(), &Options::default()).unwrap();
    let mut other = one.share().unwrap();
    assert_eq!([one.digest(), other.digest()], [Bundle::read(&shipped()).unwrap().digest(); 2]);
    let logits =
        |classifier: &mut Classifier| classifier.classify("what a film", None).unwrap().logits.to_vec();
    let there = thread::spawn(move || logits(&mut other)).join().unwrap();
    assert_eq!(logits(&mut one), there);
}

#[test]
fn a_text_split_in_any_way_has_the_same_logits() {
    let shipped = shipped();
    let bundle = Bundle::read(&shipped).unwrap();
    let external = Bytes::copy_from_slice(bundle.external());
    let mut model = Model::load(bundle.model(), external, &model::Options::default()).unwrap();
    let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for parts in [2, 3, 7] {
        let mut models: Vec<_> = (0..parts).map(|_| model.share().unwrap()).collect();
        let exchange = model.exchange(parts).unwrap();
        for tokens in [7, 16, 33, 64, 65, 127, model.max_tokens()] {
            let ids: Vec<u32> = (0..tokens as u32).map(|i| (i * 7919 + 5) % 9000).collect();
            let types = vec![0; tokens];
            let mut whole = vec![0.0; model.classes()];
            model.run(&ids, &types, &mut whole).unwrap();
            let logits = thread::scope(|scope| {
                let threads: Vec<_> = (models.iter_mut().enumerate())
                    .map(|(number, model)| {
                        let (part, exchange) = (Part { number, of: parts }, &exchange);
                        let (ids, types) = (&ids, &types);
                        let mut logits = vec![0.0; whole.len()];
                        scope.spawn(move || {
                            model.run_part(part, exchange, ids, types, &mut logits).unwrap();
                            logits
                        })
                    })
                    .collect();
                threads.into_iter().next().unwrap().join().unwrap()
            });
            assert_eq!(bits(&logits), bits(&whole), "{tokens} tokens in {parts} parts");
        }
    }
}

#[test]
fn an_invalid_part_keeps_no_thread_waiting() {
    let shipped = shipped();
    let short = altered(&shipped, |manifest| manifest.max_tokens = 64);
    let mut threaded = Classifier::new(short, &Options::default()).unwrap().into_threaded::<()>(2).unwrap();
    let (mut text, mut logits) = (Encoding::new(), [0.0; 2]);
    threaded.tokenizer().encode(&"good ".repeat(200), None, 128, &mut text).unwrap();
    for _ in 0..3 {
        let error = threaded.models_mut().run(&text, &mut logits).unwrap_err();
        assert!(error.to_string().contains("at most 64"), "{error}");
    }
    assert!(threaded.models_mut().is_idle() && threaded.models_mut().has_room());
}
