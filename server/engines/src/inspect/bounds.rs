//! How much of what an engine says is taken.

use porthole_protocol::engines::{LIST_LIMIT, TEXT_LIMIT};

/// All texts of a container together, in bytes. JSON may write each in six.
const ALL_TEXTS: usize = porthole_protocol::engines::MESSAGE_LIMIT / 8;

/// What may still be taken.
pub(super) struct Bounds {
    left: usize,
    /// Whether something was left out.
    pub(super) clipped: bool,
}

impl Bounds {
    pub(super) const fn new() -> Self {
        Self {
            left: ALL_TEXTS,
            clipped: false,
        }
    }

    pub(super) fn text(&mut self, text: Option<String>) -> String {
        let mut text = text.unwrap_or_default();
        let most = TEXT_LIMIT.min(self.left);
        if text.len() > most {
            self.clipped = true;
            text.truncate(text.floor_char_boundary(most));
        }
        self.left -= text.len();
        text
    }

    /// `None` for an empty one.
    pub(super) fn some(&mut self, text: Option<String>) -> Option<String> {
        Some(self.text(text)).filter(|text| !text.is_empty())
    }

    pub(super) fn texts(&mut self, list: Option<Vec<String>>) -> Vec<String> {
        self.list(list.unwrap_or_default(), |bounds, text| {
            bounds.text(Some(text))
        })
    }

    pub(super) fn list<T, U>(
        &mut self,
        list: impl IntoIterator<Item = T>,
        mut read: impl FnMut(&mut Self, T) -> U,
    ) -> Vec<U> {
        let mut taken = Vec::new();
        for entry in list {
            if taken.len() == LIST_LIMIT || self.left == 0 {
                self.clipped = true;
                break;
            }
            taken.push(read(self, entry));
        }
        taken
    }
}
