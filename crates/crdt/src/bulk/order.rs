//! The order in which the stretches of an update are taken in: branch by branch.
//!
//! Every order in which each comes after what it follows gives the same document. What differs is
//! how far the merge tracker has to go from one version to another. It goes least far if branches
//! are whole, the short ones first: Gentle and Kleppmann, "Collaborative Text Editing with
//! Eg-walker" (EuroSys 2025), section 3.7. Of the branches that start from what is here, those come
//! first that saw less of it, so that it is gone through once and not for each of them.

use crate::bulk::plan::{New, Plan};
use crate::gather::Gather;
use crate::graph::Graph;
use crate::sorting::{sort, sort_by};
use crate::update::NONE;

/// What follows what, by places in [`Plan::new`].
struct Links {
    /// The first link of each, or `NONE`.
    first: Vec<u32>,
    /// Who follows, and the next link of the same.
    links: Vec<(u32, u32)>,
    /// For how many each waits.
    waits: Vec<u32>,
}

impl Links {
    fn new(plan: &Plan) -> Self {
        let count = plan.new.len();
        let mut all = Self { first: vec![NONE; count], links: Vec::new(), waits: vec![0; count] };
        for at in 0..count {
            for (before, _) in plan.before(at).filter_map(|parent| plan.find_new(parent)) {
                all.links.push((at as u32, all.first[before]));
                all.first[before] = all.links.len() as u32 - 1;
                all.waits[at] += 1;
            }
        }
        all
    }

    fn get(&self, link: u32) -> Option<(usize, u32)> {
        self.links.get(link as usize).map(|(at, next)| (*at as usize, *next))
    }

    /// By stretch: how many operations it has, and those that follow it and nothing else, as long
    /// as the branch does not fork.
    fn branch_lens(&self, plan: &Plan) -> Vec<u32> {
        let len =
            |New { stretch, known }: &New| plan.update.stretches[*stretch as usize].len - known;
        let mut lens = plan.new.iter().map(len).gather();
        for at in (0..lens.len()).rev() {
            if let Some((only, NONE)) = self.get(self.first[at])
                && self.waits[only] == 1
            {
                lens[at] += lens[only];
            }
        }
        lens
    }
}

/// Places in [`Plan::new`], each after those that it follows.
pub(super) fn by_branch(graph: &Graph, plan: &Plan) -> Vec<u32> {
    let links = Links::new(plan);
    let lens = links.branch_lens(plan);
    let mut waits = links.waits.clone();
    let mut ready = first_ready(graph, plan, &lens, &waits);
    let mut order = Vec::with_capacity(waits.len());
    let mut from = ready.len();
    loop {
        // Those that have just become ready are next, the shortest branch first.
        sort_by(&mut ready[from..], |a, b| (lens[*a], *a) > (lens[*b], *b));
        let Some(at) = ready.pop() else { break order };
        order.push(at as u32);
        from = ready.len();
        let mut link = links.first[at];
        while let Some((next, after)) = links.get(link) {
            waits[next] -= 1;
            if waits[next] == 0 {
                ready.push(next);
            }
            link = after;
        }
    }
}

/// Those that follow only what is here; the last is the next.
fn first_ready(graph: &Graph, plan: &Plan, lens: &[u32], waits: &[u32]) -> Vec<usize> {
    let free = (0..waits.len()).filter(|at| waits[*at] == 0);
    let mut free = free
        .map(|at| {
            let seen = graph.latest_of(plan.before(at).map(|parent| plan.id_of(parent)));
            (seen, lens[at], at)
        })
        .gather();
    sort(&mut free);
    free.iter().rev().map(|(.., at)| *at).gather()
}

#[cfg(test)]
mod tests {
    use crate::{Doc, PeerId, VersionVector};

    #[test]
    fn what_two_wrote_at_once_is_taken_in_one_after_the_other() {
        let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
        let mut reader = Doc::new(PeerId(3));
        for at in 0..20 {
            for doc in [&mut ada, &mut ben] {
                let (result, _) = doc.transact(0, |tx| tx.text("note").insert(at, "x"));
                result.unwrap();
                reader.import(0, doc.blocks_since(reader.version())).unwrap();
            }
        }
        let mut late = Doc::new(PeerId(4));
        late.import_update(0, &reader.encode_update(&VersionVector::new())).unwrap();
        let stretches = |doc: &Doc| doc.history().graph.stretch_count();
        assert_eq!((stretches(&reader), stretches(&late)), (40, 2));
        assert_eq!(late.text("note").to_string(), reader.text("note").to_string());
    }

    #[test]
    fn who_saw_less_of_what_is_here_comes_first() {
        let mut first = Doc::new(PeerId(1));
        let mut branches = Vec::new();
        for (at, peer, len) in [(0, 5, 4), (1, 2, 3), (2, 4, 2), (3, 3, 1)] {
            first.transact(0, |tx| tx.text("note").insert(at, "x")).0.unwrap();
            let mut branch = first.fork(PeerId(peer));
            branch.transact(0, |tx| tx.text("note").insert(0, &"y".repeat(len))).0.unwrap();
            branches.extend(branch.blocks_since(first.version()));
        }
        let order = |doc: &Doc| [4, 8, 11, 13].map(|lv| doc.history().graph.peer_of(lv).0);
        let mut by_blocks = first.fork(PeerId(8));
        by_blocks.import(0, branches.clone()).unwrap();
        assert_eq!(order(&by_blocks), [5, 2, 4, 3]);
        branches.swap(0, 2);
        let mut one_by_one = first.fork(PeerId(9));
        for block in branches {
            one_by_one.import(0, [block]).unwrap();
        }
        let mut by_update = first.fork(PeerId(10));
        by_update.import_update(0, &one_by_one.encode_update(first.version())).unwrap();
        assert_eq!(order(&by_update), [5, 2, 4, 3]);
        assert_eq!(by_update.text("note").to_string(), one_by_one.text("note").to_string());
    }

    #[test]
    fn a_short_branch_comes_before_a_long_one() {
        let mut first = Doc::new(PeerId(1));
        first.transact(0, |tx| tx.text("note").insert(0, "x")).0.unwrap();
        let mut branches = [2, 3].map(|peer| first.fork(PeerId(peer)));
        for (doc, len) in branches.iter_mut().zip([9, 2]) {
            doc.transact(0, |tx| tx.text("note").insert(0, &"y".repeat(len))).0.unwrap();
            first.import(0, doc.blocks_since(first.version())).unwrap();
        }
        let mut late = Doc::new(PeerId(4));
        late.import_update(0, &first.encode_update(&VersionVector::new())).unwrap();
        let graph = &late.history().graph;
        assert_eq!([1, 3].map(|lv| graph.peer_of(lv)), [PeerId(3), PeerId(2)]);
    }
}
