//! Searching in one plain loop: the standard library's has the question in it twice, and is
//! compiled anew for every question.

pub(crate) trait Search<T> {
    /// How many items at the start are so, where none that comes after one that is not is so.
    fn count_while(&self, is_so: impl FnMut(&T) -> bool) -> usize;
}

impl<T> Search<T> for [T] {
    fn count_while(&self, mut is_so: impl FnMut(&T) -> bool) -> usize {
        let (mut from, mut upto) = (0, self.len());
        while from < upto {
            let middle = (from + upto) / 2;
            let Some(item) = self.get(middle) else { break };
            // Chosen without a branch, as no processor could foretell it.
            let is_so = is_so(item);
            from = if is_so { middle + 1 } else { from };
            upto = if is_so { upto } else { middle };
        }
        from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_what_is_so_at_the_start() {
        for len in 0..40u32 {
            let items: Vec<u32> = (0..len).collect();
            for count in 0..=len {
                assert_eq!(items.count_while(|item| *item < count), count as usize);
            }
        }
    }
}
