//! A rope that merges nothing: the floor under local edits.

use super::TextDoc;
use crate::corpus::Patch;

pub(crate) struct Rope(jumprope::JumpRope);

impl TextDoc for Rope {
    fn new(_: u64) -> Self {
        Self(jumprope::JumpRope::new())
    }

    fn edit(&mut self, patches: &[Patch]) {
        for (pos, deleted, inserted) in patches {
            if *deleted > 0 {
                self.0.remove(*pos..*pos + *deleted);
            }
            if !inserted.is_empty() {
                self.0.insert(*pos, inserted);
            }
        }
    }

    fn text(&mut self) -> String {
        self.0.to_string()
    }

    fn len(&mut self) -> usize {
        self.0.len_chars()
    }
}
