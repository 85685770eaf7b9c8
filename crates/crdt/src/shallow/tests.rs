//! Random histories in which replicas are trimmed and go on.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::block::BlockHeader;
use crate::cells::CellOp;
use crate::codec::{Reader, Writer, checksum};
use crate::container::ContainerKey;
use crate::histories::{Step, assert_is_model, run, step};
use crate::model::Model;
use crate::op::{Action, Body, Op};
use crate::text::{Ground, Tracker};
use crate::{
    Block, ContainerId, ContainerKind, DecodeError, Doc, ImportError, PastError, PeerId, Stamp,
    VersionVector,
};

const LATE: u64 = u64::MAX >> 16;

#[derive(Clone, Debug)]
enum Act {
    Edit(Step),
    Pull {
        from: Index,
        as_file: bool,
        is_whole: bool,
    },
    /// Trims a replica at a version that it once had, in place or through bytes.
    Trim {
        at: Index,
        in_place: bool,
    },
    Reload,
}

fn act() -> impl Strategy<Value = Act> {
    let pull = (any::<Index>(), any::<bool>(), any::<bool>())
        .prop_map(|(from, as_file, is_whole)| Act::Pull { from, as_file, is_whole });
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
    fn pull(&mut self, from: &Doc, as_file: bool, is_whole: bool) {
        let have = self.trimmed.version().clone();
        let since = if is_whole { VersionVector::new() } else { have.clone() };
        let import = |doc: &mut Doc| {
            if as_file {
                doc.import_update(LATE, &from.encode_update(&since))
            } else {
                doc.import(LATE, from.blocks_since(&since))
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

/// A snapshot with a chunk behind it that a later version might add.
fn with_chunk(mut snapshot: Vec<u8>, kind: u8) -> Vec<u8> {
    let mut chunk = Writer::new();
    chunk.u8(kind);
    chunk.bytes(b"later");
    chunk.u32_le(checksum(b"later"));
    snapshot.extend(chunk.into_vec());
    snapshot
}

#[test]
fn chunks_of_later_versions_are_kept() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.register("r").set(1i64));
    let bytes = with_chunk(doc.encode_snapshot(), 9);
    let loaded = Doc::from_snapshot(PeerId(1), &bytes).unwrap();
    assert_eq!(loaded.encode_snapshot(), bytes);
    let shallow = loaded.encode_shallow_snapshot(loaded.version()).unwrap();
    let bare = doc.encode_shallow_snapshot(doc.version()).unwrap();
    assert_eq!(shallow, with_chunk(bare, 9));
    let again = Doc::from_shallow_snapshot(PeerId(1), &shallow).unwrap();
    assert_eq!(again.encode_snapshot(), shallow);
    // Some say that who does not understand them must not read on.
    let critical = with_chunk(doc.encode_snapshot(), 0x89);
    let refused = Doc::from_snapshot(PeerId(1), &critical).err();
    assert_eq!(refused, Some(DecodeError::UnsupportedVersion(0x89)));
}

#[test]
fn containers_of_later_versions_are_kept_and_passed_on() {
    let containers = vec![(ContainerKind::Unknown(33), ContainerId::root("later"))];
    let op =
        |bytes: &[u8]| Op { container: 0, action: Action::Cell(CellOp::Opaque(bytes.to_vec())) };
    let body = Body { containers, names: Vec::new(), ops: vec![op(b"one"), op(b"two")] };
    let (peer, stamp) = (PeerId(7), Stamp(1));
    let block = Block::encode(BlockHeader { peer, seq: 0, len: 2, stamp, deps: vec![] }, &body);
    let start = VersionVector::new();
    let mut doc = Doc::new(PeerId(1));
    doc.import(0, [block.clone()]).unwrap();
    let mut by_file = Doc::new(PeerId(2));
    by_file.import_update(0, &doc.encode_update(&start)).unwrap();
    assert_eq!(by_file.blocks_since(&start), std::slice::from_ref(&block));
    let stored = Doc::from_snapshot(PeerId(3), &by_file.encode_snapshot()).unwrap();
    assert_eq!(stored.blocks_since(&start), [block]);

    let shallow = stored.encode_shallow_snapshot(stored.version()).unwrap();
    let trimmed = Doc::from_shallow_snapshot(PeerId(4), &shallow).unwrap();
    assert_eq!(trimmed.encode_snapshot(), shallow);
    let key = ContainerKey::Root("later");
    let index = trimmed.containers.find(ContainerKind::Unknown(33), &key).unwrap();
    let log = trimmed.containers.get(index).content.cells();
    let ops: Vec<CellOp> = log.ops(0, 9).map(|(_, op)| op).collect();
    assert_eq!(ops, [CellOp::Opaque(b"one".to_vec()), CellOp::Opaque(b"two".to_vec())]);
}

#[test]
fn deleted_characters_stay_if_something_names_them() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.text("x").insert(0, "abcdef")).0.unwrap();
    doc.transact(0, |tx| tx.text("x").delete(1, 4)).0.unwrap();
    let index = doc.containers.find(ContainerKind::Text, &"x".into()).unwrap();
    let ground = Ground::of(&doc.whole(index), "af".into(), &[3]);
    assert_eq!(ground.runs(), [(0, 1, true), (3, 1, false), (5, 1, true)]);
    let mut out = Writer::new();
    ground.encode(Some("af"), &mut out);
    let bytes = out.into_vec();
    let read = Reader::new(&bytes).read(|input| Ground::decode(input, Some("af"), 10)).unwrap();
    assert_eq!(read.runs(), ground.runs());
    assert_eq!((read.text(), read.inserted(0, 6)), ("af", "af".to_owned()));
    let tracker = Tracker::on(&read, 10);
    assert_eq!([0, 3, 5].map(|id| tracker.position_of(id)), [(0, true), (1, false), (1, true)]);
    assert!(!tracker.tracks(1));
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
                Act::Pull { from, as_file, is_whole } => {
                    let from = pairs[from.index(peers)].whole.fork(PeerId(99));
                    pairs[who].pull(&from, *as_file, *is_whole);
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
            pairs[round % peers].pull(&from, round % 3 == 0, round % 2 == 0);
        }
        for pair in &pairs {
            pair.check();
            pair.check_past([&picks[0], &picks[1]]);
        }
    }
}
