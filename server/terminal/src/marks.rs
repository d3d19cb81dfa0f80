//! Of which stream a byte is and which size the terminal had there: remembered where it is
//! recent, looked up in the index where it is not.

use std::collections::VecDeque;
use std::io;

use porthole_journal::{Cursor, Reader};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::{Mark, Record, Stream};
use porthole_protocol::session::Size;

use crate::limits::RECENT;

/// What holds at a place in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) stream: Stream,
    pub(crate) size: Size,
}

impl State {
    fn apply(&mut self, mark: Mark) {
        match mark {
            Mark::Output(stream) => self.stream = stream,
            Mark::Resize(size) => self.size = size,
            Mark::Start | Mark::End(_) | Mark::Dropped(_) => {}
        }
    }
}

/// The changes of the last while.
#[derive(Debug)]
pub(crate) struct Recent {
    /// Nothing is known of what is before this.
    from: Seq,
    base: State,
    /// What holds from each place on.
    changes: VecDeque<(Seq, State)>,
}

impl Recent {
    pub(crate) fn new(from: Seq, base: State) -> Self {
        Self {
            from,
            base,
            changes: VecDeque::new(),
        }
    }

    pub(crate) fn from(&self) -> Seq {
        self.from
    }

    /// What holds at the end.
    pub(crate) fn last(&self) -> State {
        self.changes.back().map_or(self.base, |(_, state)| *state)
    }

    /// From `seq`, the end, on this holds.
    pub(crate) fn change(&mut self, seq: Seq, state: State) {
        if state == self.last() {
            return;
        }
        match self.changes.back_mut() {
            Some((at, last)) if *at == seq => *last = state,
            _ => self.changes.push_back((seq, state)),
        }
        if self.changes.len() > RECENT
            && let Some((from, base)) = self.changes.pop_front()
        {
            (self.from, self.base) = (from, base);
        }
    }

    /// What holds at `seq`, and up to where.
    pub(crate) fn at(&self, seq: Seq) -> (State, Option<Seq>) {
        let after = self.changes.partition_point(|(at, _)| *at <= seq);
        let state = match after.checked_sub(1).and_then(|i| self.changes.get(i)) {
            Some((_, state)) => *state,
            None => self.base,
        };
        (state, self.changes.get(after).map(|(at, _)| *at))
    }
}

/// Follows the index from a place that is not recent.
#[derive(Debug)]
pub(crate) struct Follower {
    state: State,
    cursor: Cursor,
    /// The next record, which lies behind what was asked for.
    next: Option<Record>,
}

impl Follower {
    /// `default` holds where the index says nothing.
    pub(crate) fn new(reader: &Reader, seq: Seq, default: State) -> io::Result<Self> {
        let run = reader.run(seq, Seq(seq.0 + 1))?;
        Ok(Self {
            state: State {
                stream: run.map_or(default.stream, |run| run.stream),
                size: reader.size_at(seq)?.unwrap_or(default.size),
            },
            cursor: reader.cursor(Seq(seq.0 + 1))?,
            next: None,
        })
    }

    /// What holds at `seq`, which never goes back, and up to where; `limit` is far enough.
    pub(crate) fn at(
        &mut self,
        reader: &Reader,
        seq: Seq,
        limit: Seq,
    ) -> io::Result<(State, Option<Seq>)> {
        loop {
            let Some(record) = (match self.next.take() {
                Some(record) => Some(record),
                None => reader.next(&mut self.cursor)?,
            }) else {
                return Ok((self.state, None));
            };
            let mut then = self.state;
            then.apply(record.mark);
            if record.seq > seq && (then != self.state || record.seq >= limit) {
                self.next = Some(record);
                return Ok((self.state, Some(record.seq)));
            }
            self.state = then;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: State = State {
        stream: Stream::Stdout,
        size: Size::DEFAULT,
    };
    const B: State = State {
        stream: Stream::Stderr,
        size: Size::DEFAULT,
    };

    #[test]
    fn a_state_holds_from_its_place_up_to_the_next() {
        let mut recent = Recent::new(Seq(10), A);
        recent.change(Seq(20), B);
        recent.change(Seq(25), B);
        recent.change(Seq(30), A);
        assert_eq!(recent.at(Seq(10)), (A, Some(Seq(20))));
        assert_eq!(recent.at(Seq(20)), (B, Some(Seq(30))));
        assert_eq!(recent.at(Seq(31)), (A, None));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut recent = Recent::new(Seq(0), A);
        for place in 0..10 * RECENT as u64 {
            recent.change(Seq(place), if place % 2 == 0 { B } else { A });
        }
        assert!(recent.changes.len() <= RECENT);
        let (from, base) = (recent.from(), recent.base);
        assert_eq!(recent.at(from).0, base);
    }
}
