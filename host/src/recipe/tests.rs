use std::path::{Path, PathBuf};

use super::*;
use crate::data::{Column, Dataset, Example, Format, Labels, Target, Task};
use crate::distill::Layers;
use crate::evaluate::{Comparison, Inputs, Outputs};
use crate::metrics::Metric;
use crate::train::{ClassWeights, Schedule, TrainOptions, WeightRule};

const MINIMAL: &str = r#"
output = "out"
[data]
train = "train.csv"
[base]
checkpoint = "../base"
[pack]
name = "voice"
"#;

fn parse(text: &str) -> Result<Recipe, RecipeError> {
    Recipe::parse(text, Path::new("/recipes/voice.toml"))
}

#[test]
fn minimal_recipe_has_defaults_and_resolved_paths() {
    let recipe = parse(MINIMAL).unwrap();
    assert_eq!(recipe.output, Path::new("/recipes/out"));
    assert_eq!(recipe.base.checkpoint, Path::new("/recipes/../base"));
    assert_eq!(recipe.data.train.paths(), [PathBuf::from("/recipes/train.csv")]);
    assert_eq!(recipe.train, TrainOptions::default());
    assert_eq!(
        (recipe.task.max_tokens, recipe.data.dev_fraction(100_000), recipe.data.remove_overlap),
        (None, 0.1, true)
    );
    // of very many rows, no more are held out than a figure needs
    assert_eq!(recipe.data.dev_fraction(1_000_000), 0.01);
    assert_eq!((recipe.pack.version.as_str(), recipe.pack.golden), ("0.1.0", 16));
    assert!(recipe.distill.is_none());
}

#[test]
fn a_full_recipe_is_read() {
    let recipe = parse(
        r#"
        output = "/tmp/out"
        [data]
        train = ["a.csv", "/data/b.csv"]
        dev = "dev.csv"
        format = "tsv"
        text = 2
        label = "tag"
        header = true
        quoting = false
        delimiter = ";"
        label_separator = "|"
        remove_overlap = false
        seed = 7
        [task]
        kind = "multi-label"
        labels = ["spam", "ham"]
        max_tokens = 64
        metric = "micro-f1"
        [base]
        checkpoint = "base"
        [train]
        epochs = 2.5
        schedule = "cosine"
        class_weights = { spam = 4.0 }
        patience = 3
        dropout = 0
        average = 0.999
        focal = 2
        agreement = 1
        adversarial = 0.5
        [distill]
        layers = [0, 2, 5]
        other_teachers = ["other.bundle"]
        seed = 9
        [quantize]
        max_drop_per_class = 2
        [pack]
        name = "voice"
        version = "1.10.0-rc.1"
        base_licence = "Apache-2.0"
        data_licence = "CC0-1.0"
        "#,
    )
    .unwrap();
    let sources = recipe.data.sources(&recipe.data.train);
    assert_eq!(sources.len(), 2);
    assert_eq!(sources[1].path, Path::new("/data/b.csv"));
    assert_eq!(
        (sources[0].format, sources[0].quoting, sources[0].delimiter),
        (Format::Tsv, Some(false), Some(';'))
    );
    assert_eq!((&sources[0].text, &sources[0].label), (&Some(Column::from(2)), &Some("tag".into())));
    assert_eq!((recipe.task.kind, recipe.task.metric), (Some(Task::MultiLabel), Some(Metric::MicroF1)));
    let distill = recipe.distill.as_ref().unwrap();
    assert_eq!(distill.layers, Some(Layers::These(vec![0, 2, 5])));
    let training = distill.training(&distill.stages()[0], true, 64_000, false, &recipe.train);
    assert_eq!((training.epochs, training.learning_rate, training.seed), (Some(1.5), None, 9));
    assert_eq!(
        (training.patience, training.schedule, training.dropout),
        (Some(3), Schedule::Cosine, Some(0.0))
    );
    assert_eq!(training.class_weights, ClassWeights::Rule(WeightRule::None));
    assert_eq!(training.average, 0.999);
    assert_eq!((training.focal, training.agreement, training.adversarial), (0.0, 0.0, Some(0.0)));
    assert_eq!(distill.other_teachers, [Path::new("/recipes/other.bundle")]);
    // the fingerprint of a step includes its section, which must therefore serialise
    assert_eq!(toml::from_str::<Recipe>(&toml::to_string(&recipe).unwrap()).unwrap(), recipe);
}

#[test]
fn mistakes_are_named() {
    // pairs of an addition to the minimal recipe, after its last section or at its end, and the expected
    // error
    for (extra, expected) in [
        ("colour = 1", "unknown field `colour`"),
        ("[train]\nepoch = 3", "unknown field `epoch`, expected one of `epochs`"),
        ("[train]\nepochs = \"3\"", "invalid type: string \"3\", expected f64"),
        ("[train]\nepochs = -1", "`train.epochs` is -1; it has to be 0 to 1000000"),
        ("[distill]\nlayers = 3\nepochs = 1e300", "it has to be above 0, at most 1000000"),
        ("[distill]\nlayers = 3\nteachers = 101", "`distill.teachers` are more than 100"),
        ("[train]\nepochs = nan", "`train.epochs` is NaN"),
        ("[train]\nbatch_size = 0", "`train.batch_size` is 0"),
        ("[train]\nbatch_size = -1", "invalid value: integer `-1`, expected usize"),
        ("[train]\nwarmup = 10", "`train.warmup` is 10; it has to be 0 to 1"),
        ("[train]\ndropout = 1.0", "`train.dropout` is 1; it has to be 0 or above, and below 1"),
        ("[train]\nlayer_decay = 0", "`train.layer_decay` is 0"),
        ("[train]\npatience = 0", "`train.patience` is 0"),
        ("[train]\nsoup = 0", "`train.soup` is 0"),
        ("[train]\nsoup = 101", "`train.soup` are more than 100"),
        ("[train]\nclass_weights = \"even\"", "expected \"none\", \"balanced\", or a table"),
        ("[train]\nclass_weights = { a = -1 }", "`train.class_weights` is -1"),
        (
            "[train]\nclass_weights = { a = 1 }\n[task]\nlabels = [\"b\"]",
            "names `a`, which is not in `task.labels`",
        ),
        (
            "[train]\nschedule = \"sine\"",
            "unknown variant `sine`, expected one of `linear`, `cosine`, `constant`",
        ),
        ("[task]\nkind = \"ner\"", "unknown variant `ner`"),
        ("[task]\nlabels = [\"a\", \"a\"]", "`task.labels` names `a` twice"),
        ("[task]\nkind = \"regression\"\nlabels = [\"a\"]", "`task.labels` are for classes"),
        (
            "[task]\nkind = \"regression\"\nmetric = \"accuracy\"",
            "`task.metric` is accuracy, which a regression task",
        ),
        ("[task]\nlabels = [\"a\", \" b\"]", "`task.labels` has spaces around ` b`"),
        ("[task]\nlabels = [\"a\", \" \"]", "`task.labels` has an empty name"),
        (
            "[train]\nclass_weights = { a = 1 }\n[task]\nkind = \"regression\"",
            "`train.class_weights` are for classes; the task is regression",
        ),
        (
            "[decision]\nfalse_reject = 0.1\nmax_error = 0.1",
            "`decision.max_error` and `decision.false_reject` exclude each other",
        ),
        ("[task]\nwindows = { overlap = 126, most = 4 }", "`task.windows` overlap by more"),
        ("[task]\nwindows = { overlap = 16, most = 0 }", "`task.windows` has to have `most`"),
        ("[distill]\nstudent = \"huge\"", "found \"huge\""),
        ("[distill]\nstudent = \"small\"\nlayers = 3", "`distill.student` chooses the sizes"),
        ("[quantize]\naware = \"maybe\"", "expected one of `if-needed`, `always`, `never`"),
        ("[task]\nmax_tokens = 513", "`task.max_tokens` has to be 3 to 512"),
        ("[distill]", "`distill.layers` or another size, or `distill.student`, has to say"),
        ("[distill]\nngrams = false\nteachers = 5", "or another size, or `distill.student`, has to say"),
        ("[distill]\nlayers = 3\n[[distill.stages]]\nheads = 2", "`distill.stages` go together with no size"),
        ("[[distill.stages]]\nlayers = 3\nheads = 0", "`distill.heads` is 0"),
        ("[[distill.stages]]\nlayer = 3", "unknown field `layer`"),
        ("[distill]\nlayers = [2, 0]", "ascending order"),
        ("[distill]\nlayers = []", "ascending order"),
        ("[distill]\nlayers = \"all\"", "expected a number of layers or a list of them"),
        ("[distill]\nlayers = 3\nalpha_hard = 1.5", "`distill.alpha_hard` is 1.5"),
        ("[quantize]\nmax_drop = -0.5", "`quantize.max_drop` is -0.5"),
        ("[quantize]\nembedding_bits = 5", "`quantize.embedding_bits` has to be 8 or 4"),
    ] {
        let error = parse(&format!("{MINIMAL}{extra}")).unwrap_err().to_string();
        assert!(error.starts_with("/recipes/voice.toml: ") && error.contains(expected), "{extra}: {error}");
    }
    for (from, to, expected) in [
        ("\"train.csv\"", "[]", "`data.train` names no file"),
        ("\"train.csv\"", "3", "expected a path or a list of paths"),
        ("\"train.csv\"", "\"t\"\ndev = \"d\"\ndev_fraction = 0.2", "remove one of the two"),
        (
            "\"train.csv\"",
            "\"t\"\ndev_fraction = 1",
            "`data.dev_fraction` is 1; it has to be above 0 and below 1",
        ),
        ("\"train.csv\"", "\"t\"\ntext = 1.5", "expected the name of a column or its position"),
        ("\"train.csv\"", "\"t\"\nlabel_separator = \"\"", "`data.label_separator` is empty"),
        ("\"voice\"", "\"../voice\"", "`pack.name` has to be letters"),
        ("\"voice\"", "\"voice\"\nversion = \"1..0\"", "`pack.version` is `1..0`"),
        ("\"voice\"", "\"voice\"\nversion = \"1.0.1234567890\"", "`pack.version` is `1.0.1234567890`"),
        ("\"voice\"", "\"voice\"\nversion = \"1.0\"", "`pack.version` is `1.0`"),
        ("\"voice\"", "\"voice\"\nversion = \"1.0.x\"", "`pack.version` is `1.0.x`"),
        ("\"voice\"", "\"voice\"\ndata_licence = \"\"", "`pack.data_licence` is empty"),
        ("\"voice\"", "\"voice\"\ngolden = 0", "`pack.golden` is 0"),
        ("\"voice\"", "\"voice\"\ngolden = 1025", "`pack.golden` is 1025; it has to be at most 1024"),
        ("\"voice\"", "\"voice\"\nvocabulary = 0", "`pack.vocabulary` is 0"),
        ("output = \"out\"", "output = \"\"", "`output` is empty"),
        ("output = \"out\"", "", "missing field `output`"),
        ("checkpoint = \"../base\"", "", "missing field `checkpoint`"),
    ] {
        let error = parse(&MINIMAL.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
    let line = parse(&format!("{MINIMAL}[train]\nepoch = 3")).unwrap_err().to_string();
    assert!(line.contains("line 10"), "{line}");
    let absent = Recipe::load(Path::new("/absent.toml")).unwrap_err().to_string();
    assert!(absent.starts_with("cannot read /absent.toml"), "{absent}");
}

#[test]
fn the_recipes_of_this_repository_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let recipes = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let recipes: Vec<_> = recipes.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    assert!(recipes.len() >= 11, "{recipes:?}");
    for path in recipes {
        let recipe = Recipe::load(&path).unwrap();
        // texts for the self-test are written by us, whatever the data
        if let Some(golden) = &recipe.pack.golden_messages {
            assert!(golden.is_file(), "{}: {} is not there", path.display(), golden.display());
        }
    }
}

#[test]
fn another_seed_has_a_folder_of_its_own() {
    let recipe = parse(MINIMAL).unwrap();
    assert_eq!(recipe.with_seed(0), recipe);
    let other = recipe.with_seed(2);
    assert_eq!((other.train.seed, other.output), (recipe.train.seed + 2, recipe.output.join("seed-2")));
    // several teachers have a seed each
    let three = parse(&format!("{MINIMAL}[distill]\nlayers = 1\nteachers = 3\nseed = 50")).unwrap();
    let other = three.with_seed(2);
    assert_eq!((other.train.seed, other.distill.unwrap().seed), (three.train.seed + 6, Some(56)));
}

#[test]
fn allowed_drop_includes_chance_on_few_rows() {
    let limit_of = |metric: Option<Metric>, rows: usize, lost: usize, rounded: bool, quantize: Quantize| {
        let example = |i: usize| Example::new(i.to_string(), Target::Class((i % 2) as u32));
        let labels = Labels::ordered(vec!["a".into(), "b".into()]).unwrap();
        let examples = (0..rows).map(example).collect();
        let data = Dataset { task: Task::SingleLabel, labels, examples, files: vec![] };
        let right = |i: usize| if i.is_multiple_of(2) { [1.0, 0.0] } else { [0.0, 1.0] };
        let fp32: Vec<f32> = (0..rows).flat_map(right).collect();
        let int8: Vec<f32> = (0..rows).flat_map(|i| right(if i < lost { i + 1 } else { i })).collect();
        let of = |logits| Outputs { logits, thresholds: None, bytes: None, latency: None };
        let inputs = Inputs { data: &data, metric, fp32: of(&fp32), int8: of(&int8), host: None };
        quantize.allowed_drop(&Comparison::new(&inputs).unwrap(), rounded)
    };
    let limit = |rows, lost, rounded, quantize| limit_of(None, rows, lost, rounded, quantize);
    let default = Quantize::default;
    // other metrics: one differing row may cost what it costs, more rows may not
    let macro_f1 = |lost| limit_of(Some(Metric::MacroF1), 20, lost, false, default());
    assert!((macro_f1(1) - 5.01).abs() < 0.02, "{}", macro_f1(1));
    assert_eq!(macro_f1(2), 0.5);
    assert_eq!(limit(300, 2, false, default()), 0.5);
    // of several classes, one row of each rare one may be lost: first one class, at last two
    let rare = |rounded| {
        let (gold, said) = ([0, 0, 0, 0, 1, 1, 1, 1, 2, 3], [0, 0, 0, 1, 1, 1, 1, 0, 0, 1]);
        let labels = Labels::ordered(["a", "b", "c", "d"].map(String::from).to_vec()).unwrap();
        let examples = gold.map(|class| Example::new("x", Target::Class(class))).to_vec();
        let data = Dataset::new(Task::SingleLabel, labels, examples).unwrap();
        let one_hot = |class: u32| (0..4).map(move |label| f32::from(u8::from(label == class)));
        let (fp32, int8): (Vec<f32>, Vec<f32>) =
            (gold.into_iter().flat_map(one_hot).collect(), said.into_iter().flat_map(one_hot).collect());
        let of = |logits| Outputs { logits, thresholds: None, bytes: None, latency: None };
        let metric = Some(Metric::MacroF1);
        let inputs = Inputs { data: &data, metric, fp32: of(&fp32), int8: of(&int8), host: None };
        let quantize = Quantize { aware: Aware::Never, ..default() };
        let quantize = if rounded { quantize } else { default() };
        quantize.allowed_drop(&Comparison::new(&inputs).unwrap(), rounded)
    };
    assert!((rare(false) - 25.5).abs() < 1e-9, "{}", rare(false));
    assert!((rare(true) - 51.0).abs() < 1e-9, "{}", rare(true));
    // two rows of 300, and half a row in each cell: a standard deviation of 0.57 points
    assert!((limit(300, 2, true, default()) - 0.94).abs() < 0.01);
    assert_eq!(limit(300, 20, true, default()), 1.0);
    assert_eq!(limit(5000, 25, true, default()), 0.5);
    assert_eq!(limit(50, 1, false, default()), 2.0, "one row");
    let never = Quantize { aware: Aware::Never, ..default() };
    assert!(limit(300, 2, false, never) > 0.67);
    let said = Quantize { max_drop: Some(0.1), ..default() };
    assert_eq!(limit(300, 2, true, said), 0.1);
}

#[test]
fn keys_that_the_task_cannot_use_are_named() {
    type Change = fn(&mut Recipe);
    let cases: [(Change, Task, &str); 3] = [
        (
            |recipe| recipe.quantize.max_drop_per_class = Some(1.0),
            Task::Regression,
            "quantize.max_drop_per_class",
        ),
        (|recipe| recipe.train.focal = 1.0, Task::Regression, "train.focal"),
        (
            |recipe| recipe.data.out_of_scope = Some(Files::One("o.txt".into())),
            Task::SingleLabel,
            "data.out_of_scope",
        ),
    ];
    for (change, task, expected) in cases {
        let mut recipe = parse(MINIMAL).unwrap();
        recipe.suits(task).unwrap();
        change(&mut recipe);
        assert_eq!(recipe.suits(task).unwrap_err().0, expected);
        // with silence, out-of-scope texts measure something
        recipe.decision.max_error = Some(0.1);
        assert_eq!(recipe.suits(Task::SingleLabel), Ok(()), "{expected}");
    }
}

/// Checks that the tables of `docs/recipes.md` name every key exactly once, and no others, and that its
/// example is a valid recipe.
#[test]
fn the_reference_names_every_key() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recipes.md");
    let text = std::fs::read_to_string(file).unwrap();
    let example = text.split("```").nth(1).and_then(|block| block.strip_prefix("toml\n")).unwrap();
    // a recipe for a data file names the bundle after it; parsed as it stands, the example needs a name
    parse(&example.replace("data_licence", "name = \"x\"\ndata_licence")).unwrap();

    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    for section in text.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let mut documented: Vec<String> =
            rows.flat_map(|row| quoted(row.split('|').nth(1).unwrap())).collect();
        let Some(table) = quoted(heading).pop() else { continue };
        // the error about an unknown key lists the accepted ones
        let error = parse(&format!("{table}\nzzz = 1\n")).unwrap_err().to_string();
        let (_, accepted) = error.split_once("expected one of").unwrap_or_else(|| panic!("{table}: {error}"));
        let mut accepted = quoted(accepted);
        accepted.sort();
        documented.sort();
        assert_eq!(documented, accepted, "{table}");
    }
}
