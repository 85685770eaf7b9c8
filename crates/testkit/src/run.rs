//! Running seeds, and finding the fewest steps that still fail.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Once;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use crate::disk::PLANNED;
use crate::faults::Chances;
use crate::ledger::SKETCH;
use crate::step::{Step, plan};
use crate::world::World;

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The last panic of this thread: a task's is seen by nobody else.
pub(crate) fn take_panic() -> Option<String> {
    PANIC.with_borrow_mut(Option::take)
}

fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let said = info.to_string();
            if IN_WORLD.get() && said.contains(PLANNED) {
                return;
            }
            PANIC.with_borrow_mut(|panic| *panic = Some(said));
            if !IN_WORLD.get() {
                before(info);
            }
        }));
    });
}

thread_local! {
    static IN_WORLD: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Which world, and how much of what it plans.
#[derive(Clone, Debug)]
pub struct Run {
    /// Decides everything.
    pub seed: u64,
    /// Whether only what was played at first is played: for seeds that have found something.
    pub as_at_first: bool,
    /// The numbers of the planned steps to take; all, if there are none.
    pub keep: Option<Vec<usize>>,
    /// How likely which fault is, where that is not as usual.
    pub chances: Chances,
}

/// What one world did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Steps taken.
    pub steps: u64,
    /// Tabs that were started.
    pub sessions: u64,
    /// Connections made.
    pub connections: u64,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<&'static str, u64>,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// A hash of all that was on any disk in the end.
    pub digest: u64,
    /// What went wrong: a sentence.
    pub violation: Option<String>,
}

impl Outcome {
    fn compared_with(mut self, again: &Self) -> Self {
        if (self.digest, &self.faults) != (again.digest, &again.faults) {
            self.violation = Some("played twice, it went two ways".to_owned());
        }
        self
    }
}

/// A world that failed, and the steps that are enough for it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which, with the steps that are left.
    pub run: Run,
    /// What went wrong with all steps.
    pub violation: String,
    /// The steps that are left.
    pub steps: Vec<Step>,
    /// What goes wrong with those.
    pub shrunk_violation: String,
}

impl Run {
    /// All that `seed` plans.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, as_at_first: false, keep: None, chances: Chances::default() }
    }

    fn plan(&self) -> Vec<Step> {
        plan(self.seed, !self.as_at_first, &self.chances)
    }

    fn steps(&self) -> Vec<Step> {
        let all = self.plan();
        match &self.keep {
            Some(keep) => keep.iter().filter_map(|number| all.get(*number).copied()).collect(),
            None => all,
        }
    }

    /// Lives through it. Equal runs have equal outcomes, if the program was compiled with
    /// `--cfg tokio_unstable`, as `cargo xtask sim` does: else tokio draws in which order it wakes
    /// those that wait for the same.
    #[must_use]
    pub fn play(&self) -> Outcome {
        play(self.seed, &self.steps())
    }

    /// Lives through it twice: it is a violation of its own if that differs.
    #[must_use]
    pub fn play_twice(&self) -> Outcome {
        self.play().compared_with(&self.play())
    }

    /// The fewest steps that still fail in the same way, found by leaving out ever smaller parts,
    /// within `patience`.
    #[must_use]
    pub fn shrink(&self, violation: String, patience: Duration) -> Failure {
        let start = Instant::now();
        let all = self.plan().len();
        let mut kept: Vec<usize> = self.keep.clone().unwrap_or_else(|| (0..all).collect());
        let mut shrunk_violation = violation.clone();
        let kind = kind(&violation);
        let mut size = kept.len().div_ceil(2);
        while size > 0 && start.elapsed() < patience {
            let mut at = 0;
            let mut shrank = false;
            while at < kept.len() && start.elapsed() < patience {
                let mut fewer = kept.clone();
                fewer.drain(at..(at + size).min(kept.len()));
                let run = Self { keep: Some(fewer.clone()), ..self.clone() };
                match run.play().violation {
                    Some(found) if self::kind(&found) == kind => {
                        (kept, shrunk_violation, shrank) = (fewer, found, true);
                    }
                    _ => at += size,
                }
            }
            if !(shrank && size == 1) {
                size /= 2;
            }
        }
        let run = Self { keep: Some(kept), ..self.clone() };
        Failure { steps: run.steps(), run, violation, shrunk_violation }
    }
}

/// How many words of a violation say what kind it is; those after them say more of this one.
const KIND_WORDS: usize = 8;

/// The beginning of a violation without what names tokens, documents, devices and times.
fn kind(violation: &str) -> Vec<&str> {
    let says = |word: &&str| word.chars().all(char::is_alphabetic) && *word != SKETCH;
    let words = violation.split([' ', ':', ',']).filter(|word| !word.is_empty());
    words.filter(says).take(KIND_WORDS).collect()
}

/// Takes `steps` in the world of `seed`: see [`Run::play`].
#[must_use]
pub fn play(seed: u64, steps: &[Step]) -> Outcome {
    note_panics();
    take_panic();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    #[cfg(tokio_unstable)]
    runtime.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime starts");
    let play = std::panic::AssertUnwindSafe(|| {
        LocalSet::new().block_on(&runtime, async {
            let start = tokio::time::Instant::now();
            let mut world = World::new(seed);
            let violation = live(&mut world, steps).await.err();
            Outcome {
                steps: world.steps,
                sessions: world.devices.iter().map(|device| device.starts).sum(),
                connections: world.net.connections.get(),
                faults: world.all_faults(),
                simulated_ms: start.elapsed().as_millis() as u64,
                digest: world.digest(),
                violation,
            }
        })
    });
    IN_WORLD.set(true);
    let caught = std::panic::catch_unwind(play);
    IN_WORLD.set(false);
    caught.unwrap_or_else(|_| Outcome {
        violation: Some(format!("panicked: {}", take_panic().unwrap_or_default())),
        ..Outcome::default()
    })
}

async fn live(world: &mut World, steps: &[Step]) -> Result<(), String> {
    for step in steps {
        world.take(*step).await?;
    }
    world.heal().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_ends_in_two_ways_is_a_violation() {
        let outcome = |digest, kills| {
            let faults = BTreeMap::from([("tab killed", kills)]);
            Outcome { digest, faults, ..Outcome::default() }
        };
        let compared = |again: Outcome| outcome(7, 1).compared_with(&again).violation.is_some();
        assert_eq!(
            [outcome(7, 1), outcome(8, 1), outcome(7, 2)].map(compared),
            [false, true, true]
        );
    }

    #[test]
    fn a_violation_is_of_the_same_kind_whatever_it_strikes() {
        let one = kind("token 3 of sketch was saved on device 0: lost");
        assert_eq!(kind("token 14 of ledger/a was saved on device 2: lost"), one);
        assert_ne!(kind("token 14 of ledger/a was saved on the server: lost"), one);
        let quiet = kind("after 308 s it does not hold that all is quiet: ledger/a");
        assert_ne!(kind("after 308 s it does not hold that what was saved is there"), quiet);
        assert_eq!(kind("after 3008 s it does not hold that all is quiet: sketch"), quiet);
    }
}
