//! The graph of what is written before the history that was loaded is read.

use super::{Graph, Run};
use crate::graph::Lv;
use crate::id::PeerId;
use crate::stamp::{STAMP_END, Stamp};
use crate::version::VersionVector;

impl Graph {
    /// The graph of what comes after `end`, where these are the heads, each its peer's last
    /// operation. Of what is before, nothing else is known: it must not be asked for.
    pub(crate) fn after(
        heads: &[(Lv, PeerId)],
        end: Lv,
        version: VersionVector,
        stamp_end: u64,
    ) -> Self {
        let mut graph = Self { end, version, stamp_end, ..Self::default() };
        for (lv, peer) in heads {
            let (seq, peer) = (graph.version.get(*peer).saturating_sub(1), graph.intern(*peer));
            graph.runs_by_peer[peer as usize].push(graph.runs.len() as u32);
            // Nothing has a stamp that goes on from this.
            graph.runs.push(Run { start: *lv, peer, seq, parents: 0, stamp: Stamp(STAMP_END) });
            graph.sees_all.push(true);
            graph.heads.push(*lv);
        }
        graph
    }
}
