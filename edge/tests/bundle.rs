//! Damaged bundles are refused, with a specific error for each kind of damage and never with a panic.
use goldcrest_edge::bundle::{
    Bundle, Error, Golden, Licence, Manifest, ManifestError, Measured, Windows, WriteError, limits, write,
};
use goldcrest_edge::decision::{Abstention, Settings, Task};
use goldcrest_edge::tokenizer;
use sha2::{Digest, Sha256};

fn manifest() -> Manifest {
    Manifest {
        name: "moods".into(),
        version: "1.0.0".into(),
        task: Task::SingleLabel,
        pair: false,
        labels: vec!["calm".into(), "angry".into()],
        tokenizer: tokenizer::Settings::uncased(),
        max_tokens: 64,
        windows: Windows::Mean { overlap: 16, most: 8 },
        decision: Settings {
            temperature: 1.25,
            thresholds: vec![],
            abstention: Abstention::Probability(0.6),
        },
        measured: vec![Measured {
            metric: "accuracy".into(),
            fp32: 0.91,
            int8: 0.905,
            rows: 872,
            data_sha256: [7; 32],
        }],
        licence: Licence { base_model: "Apache-2.0".into(), data: "CC-BY-4.0".into() },
        created_by: "test".into(),
    }
}

fn golden() -> Vec<Golden> {
    vec![Golden { text: "hello".into(), pair: None, logits: vec![0x3f80_0000, 0xbf80_0000] }]
}

const MODEL: &[u8] = b"a graph";
const EXTERNAL: &[u8] = &[5; 100];
const VOCABULARY: &[u8] = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n";

/// Returns the digest of a body that consists of one part.
fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(body)).into()
}

fn bundle() -> Vec<u8> {
    write(&manifest(), MODEL, EXTERNAL, VOCABULARY, &golden()).unwrap()
}

/// Returns the bundle with `field` written at `offset`, and with a matching digest, which therefore does not
/// reveal the change.
fn patched(offset: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = bundle();
    bytes[offset..offset + field.len()].copy_from_slice(field);
    let body = bytes.len() - 36;
    let digest = digest(&bytes[..body]);
    bytes[body..body + 32].copy_from_slice(&digest);
    bytes
}

#[test]
fn what_is_written_is_read() {
    let bytes = bundle();
    let bundle = Bundle::read(&bytes).unwrap();
    assert_eq!(*bundle.manifest(), manifest());
    assert_eq!(bundle.golden().unwrap(), golden());
    assert_eq!((bundle.model(), bundle.external(), bundle.vocabulary()), (MODEL, EXTERNAL, VOCABULARY));
    assert_eq!(bundle.size(), bytes.len() as u64);
    for (_, section) in bundle.sections() {
        assert_eq!((section.as_ptr() as usize - bytes.as_ptr() as usize) % 64, 0);
    }
    assert_eq!(bundle.digest(), digest(&bytes[..bytes.len() - 36]));
}

#[test]
fn every_truncation_is_recognised() {
    let bytes = bundle();
    for length in 0..bytes.len() {
        let error = Bundle::read(&bytes[..length]).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{length} bytes: {error}");
    }
}

#[test]
fn every_flipped_bit_is_detected() {
    let mut bytes = bundle();
    for offset in 0..bytes.len() {
        for bit in 0..8 {
            bytes[offset] ^= 1 << bit;
            let error = Bundle::read(&bytes).unwrap_err();
            match offset {
                0..8 => assert_eq!(error, Error::NotABundle),
                8..12 => assert!(matches!(error, Error::Version { .. })),
                // wrong lengths contradict other fields; the digest reveals the rest
                12..160 => assert_ne!(error, Error::NotABundle),
                _ if offset < bytes.len() - 4 => assert_eq!(error, Error::Altered, "byte {offset}"),
                _ => assert!(matches!(error, Error::Signatures { .. })),
            }
            bytes[offset] ^= 1 << bit;
        }
    }
    assert!(Bundle::read(&bytes).is_ok());
}

#[test]
fn oversized_fields_are_named() {
    for (offset, field, name) in [
        (12, &u32::MAX.to_le_bytes()[..], "number of sections:"),
        (16, &u32::MAX.to_le_bytes()[..], "bytes of the manifest:"),
        (24, &u64::MAX.to_le_bytes()[..], "bytes of the file:"),
        (32 + 24, &u64::MAX.to_le_bytes()[..], "bytes of a section:"),
        (32 + 2 * 32 + 24, &(limits::VOCABULARY + 1).to_le_bytes()[..], "bytes of a section:"),
    ] {
        match Bundle::read(&patched(offset, field)) {
            Err(Error::Oversized { what, .. }) => assert_eq!(what, name),
            other => panic!("{name} {other:?}"),
        }
    }
}

#[test]
fn contradictions_in_the_header_are_detected_despite_a_matching_digest() {
    for (offset, field) in [
        (20, &[1u8][..]),                           // the reserved field
        (32, b"\0"),                                // a section without a name
        (32, b"vocab.txt\0"),                       // two of one name
        (32 + 20, b"x"),                            // a name with more after its end
        (32 + 2 * 32 + 24, &9999u64.to_le_bytes()), // a section past the end
        (32 + 3 * 32 + 24, &1u64.to_le_bytes()),    // bytes that belong to no section
        (16, &limits::MANIFEST.to_le_bytes()),      // a manifest past the end
    ] {
        let error = Bundle::read(&patched(offset, field)).unwrap_err();
        assert!(matches!(error, Error::Header(_)), "{offset}: {error}");
    }
    assert_eq!(Bundle::read(&patched(8, &[3])).unwrap_err(), Error::Version { found: 3 });
    let unknown = Bundle::read(&patched(32, b"model.bin\0")).unwrap_err();
    assert!(matches!(unknown, Error::UnknownSection(name) if name == "model.bin"));
}

/// The header says that it is the whole body, or even less, but has sections.
#[test]
fn a_body_without_its_table_is_refused() {
    for body in [0usize, 27, 32] {
        let mut bytes = bundle()[..32].to_vec();
        bytes[16..20].copy_from_slice(&[0; 4]);
        bytes[24..32].copy_from_slice(&(body as u64).to_le_bytes());
        bytes.resize(body + 36, 0);
        let error = Bundle::read_trusted(&bytes).unwrap_err();
        assert!(
            matches!(error, Error::Header(reason) if reason.contains("shorter than the table")),
            "{error}"
        );
    }
}

#[test]
fn a_missing_section_is_detected() {
    // removes the last section and its entry, with everything else consistent
    let bytes = bundle();
    let whole = Bundle::read(&bytes).unwrap();
    let (manifest_length, golden) = (u32::from_le_bytes(bytes[16..20].try_into().unwrap()), 3);
    let mut cut = bytes[..32 + 32 * golden].to_vec();
    cut[12..16].copy_from_slice(&3u32.to_le_bytes());
    cut.extend_from_slice(&bytes[32 + 32 * 4..][..manifest_length as usize]);
    for (_, section) in &whole.sections()[..golden] {
        cut.resize(cut.len().next_multiple_of(64), 0);
        cut.extend_from_slice(section);
    }
    let body = cut.len() as u64;
    cut[24..32].copy_from_slice(&body.to_le_bytes());
    let digest = digest(&cut);
    cut.extend_from_slice(&digest);
    cut.extend([0; 4]);
    assert_eq!(Bundle::read(&cut).unwrap_err(), Error::MissingSection("golden"));
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut bytes = bundle();
    bytes.push(0);
    assert_eq!(Bundle::read(&bytes).unwrap_err(), Error::TrailingBytes { bytes: 1 });
    let end = bytes.len() - 5;
    bytes[end] = 1;
    assert_eq!(Bundle::read(&bytes).unwrap_err(), Error::Signatures { count: 1 });
}

#[test]
fn a_manifest_that_does_not_decode_is_refused() {
    let error = Bundle::read(&patched(32 + 4 * 32, &[0xff; 12])).unwrap_err();
    assert_eq!(error, Error::ManifestEncoding);
    // one byte more than the manifest has, taken from the zeros between it and the first section
    let length = u32::from_le_bytes(bundle()[16..20].try_into().unwrap());
    assert!(!(32 + 4 * 32 + length).is_multiple_of(64));
    let error = Bundle::read(&patched(16, &(length + 1).to_le_bytes())).unwrap_err();
    assert_eq!(error, Error::ManifestEncoding);
}

#[test]
fn other_files_are_not_bundles() {
    for bytes in [&b"\x7fELF and so on"[..], b"x", &[0; 4096]] {
        assert_eq!(Bundle::read(bytes).unwrap_err(), Error::NotABundle);
    }
}

#[test]
fn invalid_manifests_are_neither_written_nor_read() {
    type Change = fn(&mut Manifest);
    let wrong: [(Change, &str); 24] = [
        (|m| m.pair = true, "a model that compares two texts cannot read them in windows"),
        (|m| m.name.clear(), "name must have 1 to 128 bytes, it has 0"),
        (|m| m.name = "a\nb".into(), "name holds a control character"),
        (|m| m.version = "1.0".into(), "version \"1.0\" is not a semantic version such as 1.0.0"),
        (
            |m| m.version = "1.0.1234567890".into(),
            "version \"1.0.1234567890\" is not a semantic version such as 1.0.0",
        ),
        (|m| m.version = "1.0.0.0".into(), "version \"1.0.0.0\" is not a semantic version such as 1.0.0"),
        (|m| m.version = "1.0.".into(), "version \"1.0.\" is not a semantic version such as 1.0.0"),
        (
            |m| m.measured = vec![m.measured[0].clone(); 17],
            "number of measured figures is 17; it must be 0 to 16",
        ),
        (|m| m.measured[0].metric.clear(), "measured.metric must have 1 to 128 bytes, it has 0"),
        (|m| m.licence.base_model.clear(), "licence.base_model must have 1 to 4096 bytes, it has 0"),
        (|m| m.licence.data = "x".repeat(4097), "licence.data must have 1 to 4096 bytes, it has 4097"),
        (|m| m.created_by = "a\tb".into(), "created_by holds a control character"),
        (|m| m.labels.truncate(1), "1 labels; single-label needs 2 to 512"),
        (|m| m.labels[1] = "calm".into(), "label \"calm\" occurs twice"),
        (|m| m.labels[1] = "calm\tly".into(), "label holds a control character"),
        (|m| m.labels[1] = "x".repeat(129), "label must have 1 to 128 bytes, it has 129"),
        (|m| m.labels = (0..513).map(|i| i.to_string()).collect(), "513 labels; single-label needs 2 to 512"),
        (|m| (m.task, m.labels) = (Task::Regression, vec![]), "0 labels; regression needs 1 to 512"),
        (|m| m.max_tokens = 2, "max_tokens is 2; it must be 3 to 512"),
        (|m| m.max_tokens = 513, "max_tokens is 513; it must be 3 to 512"),
        (|m| m.windows = Windows::Mean { overlap: 62, most: 1 }, "windows.overlap is 62; it must be 0 to 61"),
        (|m| m.windows = Windows::Mean { overlap: 0, most: 0 }, "windows.most is 0; it must be 1 to 4096"),
        (|m| m.decision.temperature = 0.0, "decision: the temperature is 0; it must be 0.000001 to 1000000"),
        (
            |m| m.decision.thresholds = vec![0.5],
            "decision: 1 thresholds for 2 labels of a single-label model",
        ),
    ];
    for (change, message) in wrong {
        let mut changed = manifest();
        change(&mut changed);
        let error = write(&changed, MODEL, EXTERNAL, VOCABULARY, &[]).unwrap_err();
        assert!(matches!(error, WriteError::Manifest(_)));
        assert_eq!(error.to_string(), format!("manifest: {message}"));
    }
    // the reader checks the same: a name of the right length with a control character
    let bytes = bundle();
    let name = bytes.windows(5).position(|w| w == b"moods").unwrap();
    let error = Bundle::read(&patched(name, b"\n")).unwrap_err();
    assert_eq!(error, Error::Manifest(ManifestError::ControlCharacter { field: "name" }));
}

#[test]
fn golden_messages_fit_the_manifest() {
    let one = || golden().remove(0);
    let wrong = [
        (vec![Golden { logits: vec![0], ..one() }], "number of logits"),
        (vec![Golden { pair: Some("b".into()), ..one() }], "number of texts"),
        (vec![one(); limits::GOLDEN + 1], "too many"),
    ];
    for (golden, reason) in wrong {
        match write(&manifest(), MODEL, EXTERNAL, VOCABULARY, &golden) {
            Err(WriteError::Golden(said)) => assert!(said.contains(reason), "{said}"),
            other => panic!("{reason}: {other:?}"),
        }
        // the reader checks the same
        let bytes = with_golden_section(&postcard::to_allocvec(&golden).unwrap());
        match Bundle::read(&bytes).unwrap().golden() {
            Err(Error::Golden(said)) => assert!(said.contains(reason), "{said}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
}

/// Returns the bundle with another section of golden messages, which is the last one.
fn with_golden_section(golden: &[u8]) -> Vec<u8> {
    let mut bytes = bundle();
    let start = bytes.len() - 36 - Bundle::read(&bytes).unwrap().sections()[3].1.len();
    bytes.truncate(start);
    bytes.extend_from_slice(golden);
    let body = bytes.len() as u64;
    bytes[24..32].copy_from_slice(&body.to_le_bytes());
    bytes[32 + 3 * 32 + 24..][..8].copy_from_slice(&(golden.len() as u64).to_le_bytes());
    bytes.extend(digest(&bytes));
    bytes.extend([0; 4]);
    bytes
}

#[test]
fn golden_messages_that_do_not_decode_are_refused() {
    let mut section = postcard::to_allocvec(&golden()).unwrap();
    assert_eq!(Bundle::read(&with_golden_section(&section)).unwrap().golden().unwrap(), golden());
    section.push(0);
    // a byte after the end, one too few, and a count that is refused before anything is read
    let count = postcard::to_allocvec(&(limits::GOLDEN + 1)).unwrap();
    let short = &section[..section.len() - 2];
    for (section, reason) in
        [(&section[..], "cannot be decoded"), (short, "cannot be decoded"), (&count, "too many")]
    {
        match Bundle::read(&with_golden_section(section)).unwrap().golden() {
            Err(Error::Golden(said)) => assert!(said.contains(reason), "{said}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
}

#[test]
fn nothing_oversized_is_written() {
    let long = Golden { text: "x".repeat(limits::GOLDEN_BYTES as usize), ..golden().remove(0) };
    let (model, vocabulary) = (vec![0; limits::MODEL as usize + 1], vec![0; limits::VOCABULARY as usize + 1]);
    for (model, vocabulary, golden, name) in [
        (&model[..], VOCABULARY, golden(), "model.onnx"),
        (MODEL, &vocabulary[..], golden(), "vocab.txt"),
        (MODEL, VOCABULARY, vec![long], "golden"),
    ] {
        match write(&manifest(), model, EXTERNAL, vocabulary, &golden) {
            Err(WriteError::Oversized { what, bytes, limit }) => assert!(what == name && bytes > limit),
            other => panic!("{name}: {:?}", other.map(|bytes| bytes.len())),
        }
    }
    let (model, vocabulary) = (&model[1..], &vocabulary[1..]);
    let largest = write(&manifest(), model, EXTERNAL, vocabulary, &golden()).unwrap();
    assert!(Bundle::read(&largest).is_ok());
}

/// The file has no blocks on the disk.
#[cfg(feature = "runtime")]
#[test]
fn an_oversized_file_is_not_mapped() {
    use goldcrest_edge::bundle::{OpenError, map};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.bundle");
    std::fs::File::create(&path).unwrap().set_len(limits::FILE + 1).unwrap();
    assert!(matches!(map(&path), Err(OpenError::Oversized { bytes, .. }) if bytes == limits::FILE + 1));
}

#[cfg(feature = "runtime")]
#[test]
fn a_file_is_replaced_whole_and_mapped() {
    use goldcrest_edge::bundle::{OpenError, map, save};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moods.bundle");
    save(&path, b"older").unwrap();
    let older = map(&path).unwrap();
    save(&path, &bundle()).unwrap();
    assert_eq!(&older.bytes()[..], b"older");
    let mapped = map(&path).unwrap();
    let read = mapped.read().unwrap();
    // released pages are read again
    assert_eq!((read.model(), read.vocabulary()), (MODEL, VOCABULARY));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "temporary file left behind");

    assert!(save(&folder.path().join("missing/moods.bundle"), b"").is_err());
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    assert!(save(&taken, b"new").is_err(), "a folder is not replaced");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "temporary file left behind");
    assert!(matches!(map(folder.path()), Err(OpenError::NotAFile { .. })));
    let missing = map(&folder.path().join("none")).unwrap_err();
    assert!(missing.to_string().contains("none"), "{missing}");
    save(&path, b"").unwrap();
    assert!(matches!(map(&path).unwrap().read(), Err(Error::Truncated { .. })));
}

/// Loads from a file, whose digest several threads compute.
#[cfg(feature = "runtime")]
#[test]
fn an_altered_bundle_is_not_loaded() {
    use goldcrest_edge::{Classifier, Options, classifier};
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/sentiment-nano/sentiment-nano.bundle");
    let whole = std::fs::read(shipped).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("altered.bundle");
    let open = || Classifier::open(&path, &Options::default());
    std::fs::write(&path, &whole).unwrap();
    open().unwrap();
    // bytes of the header and the manifest, and about as many of the graph, the weights and the vocabulary
    let places = (0..1000).step_by(3).chain((1000..whole.len()).step_by(whole.len() / 300));
    for (n, place) in places.enumerate() {
        let mut altered = whole.clone();
        altered[place] ^= 1 << (n % 8);
        std::fs::write(&path, &altered).unwrap();
        match open() {
            Err(error @ classifier::Error::File { .. }) => {
                let said = error.to_string();
                assert!(said.starts_with(&path.display().to_string()), "{said}");
                let classifier::Error::File { cause, .. } = error else { unreachable!() };
                assert!(
                    matches!(*cause, classifier::Error::Bundle(_)),
                    "bit {} of byte {place}: {said}",
                    n % 8
                );
            }
            Err(other) => panic!("bit {} of byte {place}: {other}", n % 8),
            Ok(_) => panic!("bit {} of byte {place}: loaded", n % 8),
        }
    }
}

/// Whoever prints an error with its sources would print that twice.
#[cfg(feature = "runtime")]
#[test]
fn no_error_says_again_what_its_source_says() {
    use goldcrest_edge::{Classifier, Options, classifier, stream};
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, content: &[u8]| -> Box<dyn std::error::Error> {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Box::new(Classifier::open(&path, &Options::default()).err().unwrap())
    };
    let mut cold = manifest();
    cold.decision.temperature = 0.0;
    let disk = || std::io::Error::other("the disk is full");
    let errors: Vec<Box<dyn std::error::Error>> = vec![
        open("text.bundle", b"text"),
        open("graph.bundle", &bundle()),
        open("vocabulary.bundle", &write(&manifest(), MODEL, EXTERNAL, b"a\n", &[]).unwrap()),
        Box::new(goldcrest_edge::bundle::map(&folder.path().join("nowhere")).unwrap_err()),
        Box::new(write(&cold, MODEL, EXTERNAL, VOCABULARY, &[]).unwrap_err()),
        Box::new(stream::Error::Read(disk())),
        Box::new(stream::Error::Write(disk())),
        Box::new(classifier::Error::Thread(disk())),
    ];
    for error in errors {
        let chain: Vec<String> =
            std::iter::successors(Some(&*error), |error| error.source()).map(ToString::to_string).collect();
        let repeats = |n: usize| chain[..n].iter().any(|before| before.contains(&chain[n]));
        assert!(!(1..chain.len()).any(repeats), "{chain:?}");
    }
}
