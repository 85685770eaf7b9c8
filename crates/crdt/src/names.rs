//! Interned strings: map keys and field names, by number.

use std::sync::Arc;

use crate::codec::{Input, Writer};
use crate::sorted::{Place, Sorted};

/// A name's number in its container, in order of first use.
pub(crate) type NameIx = u32;

#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    list: Vec<Arc<str>>,
    /// The numbers, by name.
    sorted: Sorted,
    /// What is probably looked for next: rows mostly name the same fields in the same order.
    next: NameIx,
}

impl Names {
    pub(crate) const fn new() -> Self {
        Self { list: Vec::new(), sorted: Sorted::new(), next: 0 }
    }

    fn position(&self, name: &str) -> Result<NameIx, Place> {
        self.sorted.find(&|index| (*self.list[index as usize]).cmp(name))
    }

    pub(crate) fn find(&self, name: &str) -> Option<NameIx> {
        self.position(name).ok()
    }

    pub(crate) fn intern(&mut self, name: &str) -> NameIx {
        if self.list.get(self.next as usize).is_none_or(|next| **next != *name) {
            self.next = match self.position(name) {
                Ok(index) => index,
                Err(place) => self.add(place, name),
            };
        }
        let index = self.next;
        self.next = if index as usize + 1 < self.list.len() { index + 1 } else { 0 };
        index
    }

    fn add(&mut self, place: Place, name: &str) -> NameIx {
        let index = self.list.len() as NameIx;
        self.list.push(name.into());
        self.sorted.insert(place, index);
        index
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
    pub(crate) fn sorted(&self) -> impl Iterator<Item = &NameIx> {
        self.sorted.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_keeps_the_number_of_its_first_use(
            used in prop::collection::vec("[ab]{0,2}", 0..40),
        ) {
            let (mut names, mut first) = (Names::new(), Vec::new());
            for name in &used {
                if !first.contains(name) {
                    first.push(name.clone());
                }
                let expected = first.iter().position(|other| other == name).unwrap();
                prop_assert_eq!(names.intern(name) as usize, expected);
                prop_assert_eq!(names.find(name), Some(expected as NameIx));
            }
            prop_assert!(names.iter().map(|name| &**name).eq(&first));
        }
    }
}
