//! A few worlds with every test run; `cargo xtask sim` plays as many as one likes.

use leptos_sync_testkit::Run;

const SEEDS: u64 = 60;

/// Many short lives of several devices with several tabs each, under faults that a seed chooses.
#[test]
fn nothing_is_lost_or_doubled_whatever_happens() {
    for seed in 0..SEEDS {
        let outcome = Run::new(seed).play();
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}

/// A failure can be played again by its seed.
#[test]
fn equal_runs_have_equal_outcomes() {
    for seed in [3, 7, 11] {
        let [one, two] = [Run::new(seed).play(), Run::new(seed).play()];
        assert_eq!(format!("{one:?}"), format!("{two:?}"));
    }
}
