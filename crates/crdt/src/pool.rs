//! A vector whose items go by 32-bit numbers, as all that this crate counts do. Where an index is
//! checked, each place has a panic of its own that names it; here there is one for all.

use std::ops::{Deref, DerefMut, Index, IndexMut};

#[derive(Clone, Debug)]
pub(crate) struct Pool<T>(pub(crate) Vec<T>);

impl<T> Pool<T> {
    // The standard library's traits ask for the caller's place; these do not.

    fn item(&self, number: u32) -> &T {
        &self.0[number as usize]
    }

    fn item_mut(&mut self, number: u32) -> &mut T {
        &mut self.0[number as usize]
    }
}

impl<T> Index<u32> for Pool<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        self.item(number)
    }
}

impl<T> IndexMut<u32> for Pool<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        self.item_mut(number)
    }
}

impl<T> Deref for Pool<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T> DerefMut for Pool<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}
