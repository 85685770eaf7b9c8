//! Interned strings: map keys and field names, by number.

use std::sync::Arc;

use crate::codec::{Input, Writer};

/// A name's number in its container, in order of first use.
pub(crate) type NameIx = u32;

#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    list: Vec<Arc<str>>,
    /// The numbers, by name.
    sorted: Vec<NameIx>,
}

impl Names {
    pub(crate) const fn new() -> Self {
        Self { list: Vec::new(), sorted: Vec::new() }
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.sorted.binary_search_by(|index| (*self.list[*index as usize]).cmp(name))
    }

    pub(crate) fn find(&self, name: &str) -> Option<NameIx> {
        self.position(name).ok().map(|at| self.sorted[at])
    }

    pub(crate) fn intern(&mut self, name: &str) -> NameIx {
        match self.position(name) {
            Ok(at) => self.sorted[at],
            Err(at) => {
                let index = self.list.len() as NameIx;
                self.list.push(name.into());
                self.sorted.insert(at, index);
                index
            }
        }
    }

    pub(crate) fn get(&self, index: NameIx) -> &Arc<str> {
        &self.list[index as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The names in order of first use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.list.iter()
    }

    /// Appends the names.
    pub(crate) fn encode(&self, out: &mut Writer) {
        out.len(self.list.len());
        self.iter().for_each(|name| out.str(name));
    }

    /// Reads what [`Names::encode`] wrote.
    pub(crate) fn decode(input: &mut Input<'_>) -> Self {
        let mut names = Self::new();
        for expected in 0..input.count(1) {
            let number = names.intern(input.str());
            input.ensure(number as usize == expected, "name");
        }
        names
    }

    /// The numbers, in the order of their names.
    pub(crate) fn sorted(&self) -> &[NameIx] {
        &self.sorted
    }
}
