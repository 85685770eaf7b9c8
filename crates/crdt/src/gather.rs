//! Collecting in one plain loop: the standard library's `collect` is compiled anew for each
//! iterator, with a first item, a guess of the size and a loop of its own each time, which for
//! iterators of several parts is more than all that they do.

pub(crate) trait Gather: Iterator + Sized {
    /// All items.
    fn gather(self) -> Vec<Self::Item> {
        let mut all = Vec::new();
        for item in self {
            all.push(item);
        }
        all
    }
}

impl<I: Iterator> Gather for I {}
