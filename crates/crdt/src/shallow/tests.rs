//! Random histories in which replicas are trimmed and go on.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::histories::{Step, assert_is_model, run, step};
use crate::model::Model;
use crate::{Block, Doc, ImportError, PastError, PeerId, VersionVector};

const LATE: u64 = u64::MAX >> 16;

#[derive(Clone, Debug)]
enum Act {
    Edit(Step),
    Pull {
        from: Index,
        as_file: bool,
    },
    /// Trims a replica at a version that it once had, in place or through bytes.
    Trim {
        at: Index,
        in_place: bool,
    },
    Reload,
}

fn act() -> impl Strategy<Value = Act> {
    let pull =
        (any::<Index>(), any::<bool>()).prop_map(|(from, as_file)| Act::Pull { from, as_file });
    let trim =
        (any::<Index>(), any::<bool>()).prop_map(|(at, in_place)| Act::Trim { at, in_place });
    prop_oneof![12 => step().prop_map(Act::Edit), 8 => pull, 3 => trim, 1 => Just(Act::Reload)]
}

/// A replica that is trimmed now and then, and one that has taken in the same and never was.
struct Pair {
    trimmed: Doc,
    whole: Doc,
    versions: Vec<VersionVector>,
}

impl Pair {
    fn new(peer: PeerId) -> Self {
        let (trimmed, whole) = (Doc::new(peer), Doc::new(peer));
        Self { trimmed, whole, versions: vec![VersionVector::new()] }
    }

    fn all(&self) -> Vec<Block> {
        self.whole.blocks_since(&VersionVector::new())
    }

    fn edit(&mut self, step: &Step, wall_ms: u64) {
        if matches!(step, Step::Pull { .. } | Step::Reload) {
            return;
        }
        run(std::slice::from_mut(&mut self.trimmed), 0, step, wall_ms);
        let new = self.trimmed.try_blocks_since(self.whole.version()).unwrap();
        self.whole.import(LATE, new).unwrap();
    }

    /// Takes in what another has. Who lacks a part of what this one was trimmed to is told so.
    fn pull(&mut self, from: &Doc, as_file: bool) {
        let have = self.trimmed.version().clone();
        let import = |doc: &mut Doc| {
            if as_file {
                doc.import_update(LATE, &from.encode_update(&have))
            } else {
                doc.import(LATE, from.blocks_since(&have))
            }
        };
        match import(&mut self.trimmed) {
            Ok(_) => drop(import(&mut self.whole).unwrap()),
            Err(ImportError::Truncated { .. }) => {
                assert!(
                    !from.version().covers(self.trimmed.history_start()) || {
                        let base = self.trimmed.history_start();
                        let new = from.blocks_since(&have);
                        new.iter().any(|block| !sees(from, block, base))
                    }
                );
                assert_eq!(*self.trimmed.version(), have);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn trim(&mut self, at: &Index, in_place: bool) {
        let version = at.get(&self.versions).clone();
        let start = self.trimmed.history_start().clone();
        let peer = self.trimmed.peer();
        let result = if in_place {
            self.trimmed.trim_history(&version).map(drop)
        } else {
            self.trimmed.encode_shallow_snapshot(&version).map(|bytes| {
                self.trimmed = Doc::from_shallow_snapshot(peer, &bytes).unwrap();
            })
        };
        let new = self.trimmed.history_start();
        match result {
            Ok(()) => assert!(version.covers(new) && new.covers(&start)),
            Err(error) => {
                assert_eq!(error, PastError::Truncated);
                assert!(!version.covers(&start));
            }
        }
    }

    fn check(&self) {
        let Self { trimmed, whole, .. } = self;
        assert_eq!(trimmed.version(), whole.version());
        assert_is_model(trimmed, &Model::of(&self.all()));
        assert_eq!(trimmed.text("x").authors(), whole.text("x").authors());
        for (peer, _) in whole.version().iter() {
            assert_eq!(trimmed.chain_mark(peer), whole.chain_mark(peer));
        }
        let roots = |doc: &Doc| doc.roots().map(|(k, n)| (k, n.to_owned())).collect::<Vec<_>>();
        // What was named but never written to is not stored.
        assert_eq!(roots(&trimmed.fork(PeerId(9))), roots(&whole.fork(PeerId(9))));
    }

    fn check_past(&self, picks: [&Index; 2]) {
        let Self { trimmed, whole, versions } = self;
        let [from, to] = picks.map(|pick| pick.get(versions));
        let start = trimmed.history_start();
        for version in [from, to] {
            match trimmed.checkout(PeerId(8), version) {
                Ok(doc) => {
                    assert!(version.covers(start));
                    let expected = whole.checkout(PeerId(8), version).unwrap();
                    let blocks = expected.blocks_since(&VersionVector::new());
                    assert_is_model(&doc, &Model::of(&blocks));
                    assert_eq!(trimmed.frontier_of(version), whole.frontier_of(version));
                    assert_eq!(trimmed.version_at(&doc.frontier()).as_ref(), Ok(version));
                }
                Err(error) => {
                    assert_eq!(error, PastError::Truncated);
                    assert!(!version.covers(start));
                }
            }
            match trimmed.try_blocks_since(version) {
                Ok(mut blocks) => {
                    let mut expected = whole.blocks_since(version);
                    blocks.sort_by_key(|block| (block.peer(), block.seq()));
                    expected.sort_by_key(|block| (block.peer(), block.seq()));
                    assert_eq!(blocks, expected);
                }
                Err(_) => assert!(!version.covers(start)),
            }
        }
        if from.covers(start) && to.covers(start) {
            assert_eq!(trimmed.diff(from, to), whole.diff(from, to));
        }
    }
}

/// Whether the author of a block had seen all of a version.
fn sees(doc: &Doc, block: &Block, version: &VersionVector) -> bool {
    let mut frontier = block.header().deps.clone();
    frontier.extend(block.seq().checked_sub(1).map(|seq| crate::OpId::new(block.peer(), seq)));
    doc.version_at(&frontier).unwrap().covers(version)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
    ))]

    /// Trimmed replicas that go on show what the untrimmed ones show that took in the same, and
    /// know the same of the past that they have.
    #[test]
    fn trimmed_replicas_equal_untrimmed_ones(
        peers in 2usize..5,
        acts in prop::collection::vec((any::<Index>(), act(), 0u64..9_000), 1..60),
        picks in any::<[Index; 2]>(),
    ) {
        let mut pairs: Vec<Pair> =
            (0..peers).map(|i| Pair::new(PeerId((i as u64 * 7 + 3) % 11))).collect();
        for (who, act, wall_ms) in &acts {
            let who = who.index(peers);
            match act {
                Act::Edit(step) => pairs[who].edit(step, *wall_ms),
                Act::Pull { from, as_file } => {
                    let from = pairs[from.index(peers)].whole.fork(PeerId(99));
                    pairs[who].pull(&from, *as_file);
                }
                Act::Trim { at, in_place } => pairs[who].trim(at, *in_place),
                Act::Reload => {
                    let doc = &mut pairs[who].trimmed;
                    let bytes = doc.encode_snapshot();
                    *doc = Doc::from_shallow_snapshot(doc.peer(), &bytes).unwrap();
                    prop_assert_eq!(&doc.encode_snapshot(), &bytes);
                }
            }
            let version = pairs[who].whole.version().clone();
            pairs[who].versions.push(version);
        }
        for pair in &pairs {
            pair.check();
            pair.check_past([&picks[0], &picks[1]]);
        }
        for round in 0..2 * peers {
            let from = pairs[(round + 1) % peers].whole.fork(PeerId(99));
            pairs[round % peers].pull(&from, round % 3 == 0);
        }
        for pair in &pairs {
            pair.check();
            pair.check_past([&picks[0], &picks[1]]);
        }
    }
}
