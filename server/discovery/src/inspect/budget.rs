//! How much of a document lists may take, so that it stays below its limit whatever was read.

use porthole_protocol::inspection::{Bounded, DOCUMENT_LIMIT};
use serde::Serialize;

/// Everything of a document that is no list has room here.
const REST: usize = 256 * 1024;

/// Items of one list.
const ITEMS: usize = 8192;

/// Bytes of JSON that are left.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new() -> Self {
        Self(DOCUMENT_LIMIT - REST)
    }

    /// As many of these as fit into what is left, and into one part of it in `parts`.
    pub(super) fn take<T: Serialize>(
        &mut self,
        parts: usize,
        items: impl IntoIterator<Item = T>,
    ) -> Bounded<T> {
        let mut left = self.0 / parts.max(1);
        let mut list = Bounded::default();
        for item in items {
            // A comma goes with each.
            let length = serde_json::to_vec(&item).map_or(usize::MAX, |json| json.len() + 1);
            if list.left_out == 0 && length <= left && list.items.len() < ITEMS {
                left -= length;
                self.0 -= length;
                list.items.push(item);
            } else {
                list.left_out += 1;
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut budget = Budget::new();
        let long = || std::iter::repeat_n("x".repeat(1000), 3000);
        let half = budget.take(2, long());
        assert!(half.items.len() > 900 && half.items.len() < 1100);
        assert_eq!(half.items.len() as u64 + half.left_out, 3000);
        let rest = budget.take(1, long());
        let bytes = (half.items.len() + rest.items.len()) * 1003;
        assert!(bytes <= DOCUMENT_LIMIT - REST && bytes > DOCUMENT_LIMIT - REST - 3000);
        let many = Budget::new().take(1, 0..10_000);
        assert_eq!(
            (many.items.len(), many.left_out),
            (ITEMS, 10_000 - ITEMS as u64)
        );
    }
}
