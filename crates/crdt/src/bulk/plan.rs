//! What of an update file is new, and whether it may be taken in.

use crate::gather::Gather;
use crate::graph::Graph;
use crate::id::OpId;
use crate::import::{ImportError, OPS_MAX};
use crate::sorting::sort;
use crate::update::{FileStretch, NONE, Parent, Update};

/// What of a stretch is new: all but so many of its first operations.
#[derive(Clone, Copy)]
pub(super) struct New {
    pub(super) stretch: u32,
    pub(super) known: u32,
}

/// An update that may be taken in.
pub(super) struct Plan {
    pub(super) update: Update,
    /// In the order of the file.
    pub(super) new: Vec<New>,
    /// By stretch: its place in `new`, or `NONE`.
    places: Vec<u32>,
}

impl Plan {
    /// Checks everything.
    ///
    /// # Errors
    /// Those of [`crate::Doc::import_update`], but for what is malformed.
    pub(super) fn new(graph: &Graph, update: Update, wall_ms: u64) -> Result<Self, ImportError> {
        check_authors(&update)?;
        let mut plan = Self { update, new: Vec::new(), places: Vec::new() };
        // By stretch: how many of its author's operations are here.
        let mut counts: Vec<u32> = Vec::with_capacity(plan.update.stretches.len());
        let mut total = u64::from(graph.end());
        for (number, stretch) in plan.update.stretches.iter().enumerate() {
            let OpId { peer, seq } = stretch.id;
            let here = match stretch.previous {
                NONE => graph.version().get(peer),
                previous => counts[previous as usize],
            };
            counts.push(here);
            if stretch.previous == NONE && seq > here {
                return Err(ImportError::Missing(OpId::new(peer, here)));
            }
            let known = here.saturating_sub(seq);
            plan.places.push(NONE);
            if known >= stretch.len {
                continue;
            }
            if known > 0 && !plan.update.is_bound(stretch.start + known) {
                return Err(ImportError::DuplicatePeer { peer, seq: here });
            }
            if stretch.stamp.is_future(wall_ms) {
                return Err(ImportError::FromTheFuture);
            }
            plan.places[number] = plan.new.len() as u32;
            plan.new.push(New { stretch: number as u32, known });
            plan.check_parents(graph, stretch, known)?;
            total += u64::from(stretch.len - known);
        }
        if total >= u64::from(OPS_MAX) {
            return Err(ImportError::Full);
        }
        Ok(plan)
    }

    /// Checks what the first new operation of the last stretch so far follows.
    fn check_parents(
        &self,
        graph: &Graph,
        stretch: &FileStretch,
        known: u32,
    ) -> Result<(), ImportError> {
        let at = self.new.len() - 1;
        let (peer, seq) = (stretch.id.peer, stretch.id.seq + known);
        // Whoever has seen what is not here yet has seen what a trimmed document starts from.
        let mut sees_base = graph.base() == 0;
        for parent in self.before(at) {
            let after = match self.find_new(parent) {
                Some((before, offset)) => {
                    sees_base = true;
                    let New { stretch, known } = self.new[before];
                    self.update.stretches[stretch as usize].stamp.plus(known + offset)
                }
                None => {
                    let id = self.id_of(parent);
                    let lv = graph.lv_of(id).ok_or(ImportError::Missing(id))?;
                    sees_base |= graph.sees_base(&[lv]);
                    graph.stamp_of(lv)
                }
            };
            if stretch.stamp.plus(known) <= after {
                return Err(ImportError::Stamp { peer, seq });
            }
        }
        if sees_base { Ok(()) } else { Err(ImportError::Truncated { peer, seq }) }
    }

    /// An operation of the file that is here already, if there is one.
    pub(super) fn first_known(&self) -> Option<OpId> {
        let mut stretches = (0..).zip(&self.places);
        let known =
            stretches.find(|(_, at)| self.new.get(**at as usize).is_none_or(|n| n.known > 0));
        known.map(|(number, _): (usize, _)| self.update.stretches[number].id)
    }

    /// What the file says that the first operation of `new[at]` follows, unless it is in the middle
    /// of a stretch.
    pub(super) fn parents_of(&self, at: usize) -> impl Iterator<Item = Parent> {
        let New { stretch, known } = self.new[at];
        let parents = if known == 0 { self.update.parents_of(stretch as usize) } else { &[] };
        parents.iter().copied()
    }

    /// All that `new[at]` follows, the operation of its author among it.
    pub(super) fn before(&self, at: usize) -> impl Iterator<Item = Parent> {
        let (mut parents, mut own) = (self.parents_of(at), self.own_of(at));
        std::iter::from_fn(move || parents.next().or_else(|| own.take()))
    }

    /// The operation of the same author before `new[at]`.
    pub(super) fn own_of(&self, at: usize) -> Option<Parent> {
        let New { stretch, known } = self.new[at];
        let FileStretch { id, previous, .. } = self.update.stretches[stretch as usize];
        if known > 0 || previous == NONE {
            let seq = (id.seq + known).checked_sub(1)?;
            return Some(Parent::Outside(OpId::new(id.peer, seq)));
        }
        let len = self.update.stretches[previous as usize].len;
        Some(Parent::Inside(previous, len - 1))
    }

    /// The new stretch that an operation is in, by its place in `new`, and the operation's place
    /// there.
    pub(super) fn find_new(&self, parent: Parent) -> Option<(usize, u32)> {
        let Parent::Inside(stretch, offset) = parent else { return None };
        let at = self.places[stretch as usize];
        let offset = offset.checked_sub(self.new.get(at as usize)?.known)?;
        Some((at as usize, offset))
    }

    pub(super) fn id_of(&self, parent: Parent) -> OpId {
        match parent {
            Parent::Inside(stretch, offset) => {
                self.update.stretches[stretch as usize].id.plus(offset)
            }
            Parent::Outside(id) => id,
        }
    }
}

/// Checks that nobody is listed twice: a file that writes an operation twice could give it two
/// stamps.
fn check_authors(update: &Update) -> Result<(), ImportError> {
    let firsts = update.stretches.iter().filter(|stretch| stretch.previous == NONE);
    let mut firsts = firsts.map(|stretch| stretch.id).gather();
    sort(&mut firsts);
    match firsts.windows(2).find(|pair| pair[0].peer == pair[1].peer) {
        Some(pair) => Err(ImportError::DuplicatePeer { peer: pair[1].peer, seq: pair[1].seq }),
        None => Ok(()),
    }
}
