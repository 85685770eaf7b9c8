//! diamond-types 1.0: text only.

use diamond_types::AgentId;
use diamond_types::list::ListCRDT;
use diamond_types::list::encoding::{ENCODE_FULL, ENCODE_PATCH, EncodeOptions};

use super::{Merging, TextDoc};
use crate::corpus::Patch;

pub(crate) struct Diamond {
    doc: ListCRDT,
    agent: AgentId,
}

impl Diamond {
    fn of(mut doc: ListCRDT, peer: u64) -> Self {
        let agent = doc.get_or_create_agent_id(&format!("{peer:06}"));
        Self { doc, agent }
    }
}

impl TextDoc for Diamond {
    fn new(peer: u64) -> Self {
        Self::of(ListCRDT::new(), peer)
    }

    fn edit(&mut self, patches: &[Patch]) {
        for (pos, deleted, inserted) in patches {
            if *deleted > 0 {
                self.doc.delete_without_content(self.agent, *pos..*pos + *deleted);
            }
            if !inserted.is_empty() {
                self.doc.insert(self.agent, *pos, inserted);
            }
        }
    }

    fn text(&mut self) -> String {
        self.doc.branch.content().to_string()
    }

    fn len(&mut self) -> usize {
        self.doc.len()
    }
}

impl Merging for Diamond {
    fn produce(&mut self, patches: &[Patch]) -> Vec<u8> {
        let before = self.doc.oplog.local_version();
        self.edit(patches);
        self.doc.oplog.encode_from(ENCODE_PATCH, &before)
    }

    fn receive(&mut self, update: &[u8]) {
        self.doc.merge_data_and_ff(update).expect("an update that fits");
    }

    fn history(&mut self) -> Vec<u8> {
        self.doc.oplog.encode(EncodeOptions { compress_content: false, ..ENCODE_FULL })
    }

    fn stored(&mut self) -> Vec<u8> {
        self.doc.oplog.encode(ENCODE_FULL)
    }

    fn from_history(peer: u64, bytes: &[u8]) -> Self {
        Self::of(ListCRDT::load_from(bytes).expect("a history"), peer)
    }
}
