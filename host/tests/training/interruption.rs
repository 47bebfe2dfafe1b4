//! Runs that are stopped or killed.
use super::*;

#[test]
fn stopping_a_run_loses_no_step() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // otherwise it would never be saved
    let options =
        TrainOptions { save_every: 1e9, eval_every: Some(5), average: 0.9, patience: Some(100), ..options() };
    let (expected, _) = run(None, &options, whole.path()).unwrap();
    // in the first evaluation, after a step, in another evaluation, in the last one
    let mut began = Vec::new();
    let mut stop_at = |evaluation: bool, number: u64| {
        let mut step_now = 0;
        let mut ask = |event: Event| match event {
            Event::Started { done, .. } => {
                began.push(done);
                step_now = done;
            }
            Event::Step { step, stop, .. } => {
                step_now = step;
                stop.set(!evaluation && step == number);
            }
            Event::Evaluating { stop, .. } => stop.set(evaluation && step_now == number),
            _ => {}
        };
        run_watched(checkpoint(), None, &options, cut.path(), &mut ask)
    };
    let mut steps = 0;
    for (evaluation, number) in [(true, 0), (false, 7), (true, 10)] {
        match stop_at(evaluation, number) {
            Err(Error::Interrupted { step, steps: all }) if step == number => steps = all,
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(matches!(stop_at(true, steps), Err(Error::Interrupted { step, .. }) if step == steps));
    let (summary, _) = stop_at(false, u64::MAX).unwrap();
    assert_eq!(Summary { seconds: expected.seconds, ..summary }, expected);
    assert_eq!(began, [0, 0, 7, 10, steps]);
    assert_eq!(weights(whole.path()), weights(cut.path()));
    let log = |folder: &Path| {
        let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines
            .map(|line| (line["step"].clone(), line["dev"].clone(), line["loss"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(log(whole.path()), log(cut.path()));
}

#[test]
fn an_interrupted_run_ends_with_the_same_weights() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // covers adversarial perturbation, and a saved state with an average of the weights
    let options = TrainOptions { average: 0.9, adversarial: Some(0.5), save_every: 0.0, ..options() };
    run(None, &options, whole.path()).unwrap();
    let supervised = Supervised::new(&data(96, 0), &options).unwrap();
    let interrupted = Interrupted(&supervised, AtomicUsize::new(58));
    assert!(run(Some(&interrupted), &options, cut.path()).is_err());
    let state = cut.path().join("state.safetensors");
    let saved = std::fs::read(&state).unwrap();
    run(None, &options, cut.path()).unwrap();
    assert_eq!(weights(whole.path()), weights(cut.path()));
    // damaged states are ignored, and a state whose best checkpoint is lost
    let mut flipped = saved.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [&[], &saved[..saved.len() / 2], &flipped[..], &saved[..]] {
        std::fs::write(&state, damaged).unwrap();
        if damaged == saved {
            std::fs::write(cut.path().join("best/model.safetensors"), []).unwrap();
        }
        run(None, &options, cut.path()).unwrap();
        assert_eq!(weights(whole.path()), weights(cut.path()));
    }
}

#[test]
fn only_the_state_of_the_same_job_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions { epochs: Some(2.0), save_every: 0.0, ..options() };
    let supervised = Supervised::new(&data(96, 0), &options).unwrap();
    let interrupted = Interrupted(&supervised, AtomicUsize::new(15));
    assert!(run(Some(&interrupted), &options, folder.path()).is_err());
    let state = folder.path().join("state.safetensors");
    let saved = std::fs::read(&state).unwrap();
    let resumes = |checkpoint: Checkpoint, fingerprint: &str| {
        std::fs::write(&state, &saved).unwrap();
        let mut began = None;
        let mut watch = |event: Event| {
            if let Event::Started { done, .. } = event {
                began = Some(done);
            }
        };
        run_job(checkpoint, None, &options, fingerprint, folder.path(), &mut watch).unwrap();
        began.unwrap() > 0
    };
    assert!(resumes(checkpoint(), "test"));
    assert!(!resumes(checkpoint(), "another"));
    let mut wider = checkpoint();
    wider.config.intermediate_size = 48;
    assert!(!resumes(wider, "test"));
    std::fs::remove_dir_all(folder.path().join("best")).unwrap();
    assert!(!resumes(checkpoint(), "test"), "the best checkpoint is lost");
}

/// Each job keeps its best checkpoint in the same folder.
#[test]
fn a_state_does_not_outlive_its_best_checkpoint() {
    let (whole, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = TrainOptions { epochs: Some(2.0), save_every: 0.0, ..options() };
    run(None, &options, whole.path()).unwrap();
    let supervised = Supervised::new(&data(96, 0), &options).unwrap();
    let fail_at = |update: usize, fingerprint: &str| {
        let failing = Interrupted(&supervised, AtomicUsize::new(update));
        let failed = run_job(checkpoint(), Some(&failing), &options, fingerprint, folder.path(), &mut |_| ());
        assert!(failed.is_err());
    };
    fail_at(15, "test");
    let state = folder.path().join("state.safetensors");
    assert!(state.exists());
    // another job, which fails before it saves a state
    fail_at(1, "another");
    assert!(!state.exists());
    run(None, &options, folder.path()).unwrap();
    assert_eq!(weights(whole.path()), weights(folder.path()));
}
