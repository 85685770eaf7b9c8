//! Going through the history from one of its stretches to a later one.

use crate::graph::{Graph, Lv, Parents};

/// Goes through the stretches in order.
pub(crate) struct Steps<'a> {
    graph: &'a Graph,
    index: usize,
}

/// What is left of a stretch, from an operation on.
pub(crate) struct StepFrom<'a> {
    pub(crate) end: Lv,
    /// Those of the operation.
    pub(crate) parents: Parents<'a>,
    /// Whether the author had seen all that comes before in the local order.
    pub(crate) sees_all: bool,
}

impl<'a> Steps<'a> {
    /// Goes on to the stretch of an operation.
    pub(crate) fn to(&mut self, lv: Lv) -> StepFrom<'a> {
        let graph = self.graph;
        self.index = graph.run_near(self.index, lv);
        StepFrom {
            end: graph.run_end(self.index),
            parents: graph.parents_in(self.index, lv),
            sees_all: graph.sees_all[self.index],
        }
    }
}

impl Graph {
    /// Goes through the stretches: the first that is asked for is mostly among the last.
    pub(crate) fn steps(&self) -> Steps<'_> {
        Steps { graph: self, index: self.runs.len().saturating_sub(1) }
    }
}
