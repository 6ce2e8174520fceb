//! Several seeds in one training: each as if it were alone, the best of them kept, and an interruption changes nothing.

use std::fs;

use stepwise::{
    domain::{AttemptOutcome, AttemptValidation, Frame, SeedOutcome},
    trainer::Ended,
};

use crate::support::attempt::{Attempt, events, figures, row, snapshots};

/// Steps of a round.
const STEPS: i64 = 30;

/// Rounds whose best exam is not the last, with dropout and test rows.
fn attempt(seeds: &[u64]) -> Attempt {
    let mut attempt = Attempt::new();
    attempt.spec.test = Some("test.jsonl".to_owned());
    attempt.write("test.jsonl", (64..80).map(row));
    let knobs = &mut attempt.spec.hyperparameters;
    (knobs.max_steps, knobs.eval_steps, knobs.log_every) = (u32::try_from(STEPS).ok(), 6, 4);
    (knobs.learning_rate, knobs.warmup_steps) = (Some(0.6), 30);
    knobs.snapshot_every = 0;
    knobs.seeds = Some(seeds.to_vec());
    attempt
}

fn weights(attempt: &Attempt) -> Vec<u8> {
    attempt.checkpoint().remove("model.safetensors").unwrap()
}

/// What was found, without the time that it took, and its steps counted from `first`.
fn timeless(outcomes: &[SeedOutcome], first: i64) -> Vec<SeedOutcome> {
    let of =
        |outcome: &SeedOutcome| SeedOutcome { seconds: 0.0, best_step: outcome.best_step - first, ..outcome.clone() };
    outcomes.iter().map(of).collect()
}

#[test]
fn every_seed_is_trained_as_if_it_were_alone_and_the_best_one_is_kept() {
    let all = attempt(&[3, 5, 8]);
    let (outcome, frames) = all.train();
    let outcome = outcome.unwrap();
    let mut alone = Vec::new();
    for (number, seed) in [3, 5, 8].into_iter().enumerate() {
        let single = attempt(&[seed]);
        let found = single.train().0.unwrap();
        assert_eq!((found.seeds.len(), found.seed, found.standard_error), (1, seed, Default::default()));
        let together = timeless(&outcome.seeds[number..=number], STEPS * number as i64);
        assert_eq!(together, timeless(&found.seeds, 0));
        if seed == outcome.seed {
            assert!(weights(&single) == weights(&all), "the weights that were kept are not those of seed {seed}");
        }
        alone.push(found);
    }
    let best = alone.iter().filter_map(|found| found.validation_accuracy).max_by(f64::total_cmp);
    assert_eq!(outcome.validation_accuracy, best);
    let first_best = alone.iter().find(|found| found.validation_accuracy == best).unwrap();
    assert_eq!((outcome.seed, outcome.test_accuracy), (first_best.seed, first_best.test_accuracy));
    let mean = alone.iter().filter_map(|found| found.test_accuracy).sum::<f64>() / 3.0;
    assert!((outcome.mean.test_accuracy.unwrap() - mean).abs() < 1e-12);
    assert!(outcome.standard_error.test_accuracy.is_some());
    assert_eq!(outcome.steps, 3 * STEPS);

    // Each step has one meaning, whatever the seed.
    let started: Vec<_> = events(&frames, "seed_started")
        .into_iter()
        .map(|data| (data["seed"].as_u64().unwrap(), data["first_step"].as_i64().unwrap()))
        .collect();
    assert_eq!(started, [(3, 0), (5, STEPS), (8, 2 * STEPS)]);
    assert_eq!(events(&frames, "seed_finished").len(), 3);
    let steps: Vec<i64> =
        figures(&frames).into_keys().filter(|(_, name)| name == "label_accuracy").map(|of| of.0).collect();
    assert_eq!(steps, (1..=15).map(|exam| 6 * exam).collect::<Vec<_>>());
    let mut ended = frames.iter().filter_map(|frame| match frame {
        Frame::Progress { step, total } => Some((*step, *total)),
        _ => None,
    });
    assert_eq!(ended.next_back(), Some((3 * STEPS, 3 * STEPS)));
}

fn same(one: &AttemptOutcome, other: &AttemptOutcome) {
    assert_eq!(timeless(&one.seeds, 0), timeless(&other.seeds, 0));
    let figures = |found: &AttemptOutcome| (found.seed, found.best_step, found.mean, found.standard_error);
    assert_eq!(figures(one), figures(other));
}

#[test]
fn a_training_stopped_under_its_second_seed_ends_as_one_that_never_was() {
    let (whole, mut parts) = (attempt(&[3, 5, 8]), attempt(&[3, 5, 8]));
    let (expected, frames) = whole.train();
    let expected = expected.unwrap();
    let mut all = Vec::new();
    let stops: [&dyn Fn(&Frame) -> bool; 5] = [
        // In the midst of the first round.
        &|frame| matches!(frame, Frame::Metrics { step: 8, .. }),
        // Between two rounds.
        &|frame| matches!(frame, Frame::Event { code, .. } if code == "seed_finished"),
        // In the midst of the second, before an exam.
        &|frame| matches!(frame, Frame::Metrics { step: 48, .. }),
        // After its last exam, before its test.
        &|frame| matches!(frame, Frame::Metrics { step: 60, values } if values.contains_key("label_accuracy")),
        // In the last.
        &|frame| matches!(frame, Frame::Metrics { step: 76, .. }),
    ];
    for stop in stops {
        let (ended, frames) = parts.train_until(stop);
        assert!(matches!(ended, Ok(Ended::Stopped)), "{ended:?}");
        parts.spec.resume = Some(snapshots(&frames).pop().unwrap().1);
        all.extend(frames);
    }
    let (found, rest) = parts.train();
    assert!(events(&rest, "inexact_resume").is_empty());
    all.extend(rest);
    same(&found.unwrap(), &expected);
    assert!(whole.checkpoint()["model.safetensors"] == weights(&parts), "the weights differ");
    assert_eq!(figures(&frames), figures(&all));
}

#[test]
fn a_training_killed_under_its_second_seed_goes_on_from_the_snapshots_it_wrote() {
    let (whole, mut killed) = (attempt(&[3, 5]), attempt(&[3, 5]));
    let expected = whole.train().0.unwrap();
    killed.spec.hyperparameters.snapshot_every = 20;
    let (_, frames) = killed.train();
    let written = snapshots(&frames);
    // The end of the first round is one of the multiples' neighbors: a snapshot counts steps over all rounds.
    assert_eq!(written.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [20, 40]);
    fs::remove_dir_all(killed.folder.path().join("checkpoint")).unwrap();
    killed.spec.resume = Some(written[1].1.clone());
    same(&killed.train().0.unwrap(), &expected);
    assert!(weights(&whole) == weights(&killed));

    let best = killed.folder.path().join(&written[1].1).join("rounds.safetensors");
    let mut bytes = fs::read(&best).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(best, bytes).unwrap();
    let error = killed.train().0.unwrap_err();
    assert!(error.message.contains("rounds.safetensors"), "{}", error.message);
}

#[test]
fn a_round_that_stops_early_leaves_its_steps_to_nobody() {
    let mut attempt = attempt(&[3, 5]);
    attempt.spec.hyperparameters.early_stopping_patience = Some(1);
    attempt.spec.hyperparameters.checkpoint_every = 6;
    let (outcome, frames) = attempt.train();
    let outcome = outcome.unwrap();
    let [first, second] = &outcome.seeds[..] else { panic!("{outcome:?}") };
    assert!(first.steps < STEPS && first.stopped_early_at == Some(first.steps), "{outcome:?}");
    assert_eq!(outcome.steps, first.steps + second.steps);
    assert_eq!(events(&frames, "seed_started")[1]["first_step"], first.steps);
    let left = frames.iter().filter_map(|frame| match frame {
        Frame::Checkpoint { step, seed, accuracy, .. } => Some((*step, *seed, accuracy.is_some())),
        _ => None,
    });
    let left: Vec<_> = left.collect();
    assert!(left.iter().all(|(step, seed, known)| *known && *seed == Some(if *step <= first.steps { 3 } else { 5 })));
    assert!(left.len() >= 2, "{left:?}");
}

#[test]
fn without_validation_rows_the_first_seed_is_kept() {
    let mut several = attempt(&[3, 5]);
    several.spec.validation = AttemptValidation::Fraction { fraction: 0.0, seed: 0 };
    let outcome = several.train().0.unwrap();
    assert_eq!((outcome.seed, outcome.mean.validation_accuracy, outcome.best_step), (3, None, STEPS));
    let mut single = attempt(&[3]);
    single.spec.validation = several.spec.validation.clone();
    single.train().0.unwrap();
    assert!(weights(&single) == weights(&several));
}
