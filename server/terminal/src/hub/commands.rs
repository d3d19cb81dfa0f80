//! What the rest of the server says.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Hub;
use crate::handle::{
    Close, Command, Gone, Incoming, Line, Outgoing, Permission, SubscribeError, Subscription,
    Viewer as Asked,
};
use crate::limits::{OUTGOING, VIEWERS};
use crate::viewer::{Begin, Viewer};

impl Hub {
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Attach(descriptors, answer) => {
                // Who asked may have gone, as below.
                let _ = answer.send(self.attach(descriptors));
            }
            Command::Detach => self.detach(),
            Command::Exited(exit, answer) => self.on_exited(exit, answer),
            Command::Subscribe(viewer, answer) => {
                let _ = answer.send(self.subscribe(viewer));
            }
            Command::Permit(user, permission) => self.permit(&user, permission),
            Command::Notice(code, text) => self.tell_all(code, &text),
            Command::Screen(answer) => self.screens.push(answer),
            Command::Close(close) => self.close(&close),
        }
    }

    fn subscribe(&mut self, asked: Asked) -> Result<Subscription, SubscribeError> {
        let now = Instant::now();
        let Asked {
            user,
            id,
            resume,
            permission,
        } = asked;
        let known = id.and_then(|id| Some((self.writers.find(&id, &user)?, id)));
        let (writer, id) = match known {
            Some(known) => known,
            None => {
                let (number, id) = (self.next_number(), new_id()?);
                self.writers.add(number, id.clone(), user, now);
                (number, id)
            }
        };
        let replaced = Close::new(Close::REPLACED, "this terminal was opened in another tab");
        self.cut_where(&replaced, |viewer| viewer.writer == writer);
        if self.viewers.len() >= VIEWERS {
            return Err(SubscribeError::Full(VIEWERS));
        }
        self.writers.came(writer);
        let number = self.next_number();
        let (to_viewer, channel) = mpsc::channel(OUTGOING);
        let line = Arc::<Line>::default();
        let (kept_from, end) = self.place();
        self.viewers.push(Viewer::new(
            number,
            writer,
            permission,
            Begin::of(resume, kept_from, end),
            end,
            self.recent.last().size,
            to_viewer,
            Arc::clone(&line),
            now,
        ));
        self.seat(number, writer, permission);
        self.viewers_changed();
        Ok(Subscription {
            id,
            outgoing: Outgoing::new(channel, line, Arc::clone(&self.notify)),
            incoming: Incoming {
                channel: self.to_incoming.clone(),
                number,
            },
        })
    }

    /// Gives a newcomer driving, where it is free or was its own.
    fn seat(&mut self, number: u64, writer: u64, permission: Permission) {
        if permission < Permission::Write {
            return;
        }
        let before = self.driver;
        if before.is_none() || self.home == Some(writer) {
            self.driver = Some(number);
            if before.is_none() && self.home.is_none() {
                self.home = Some(writer);
            }
        }
        for viewer in &mut self.viewers {
            if before != self.driver && before == Some(viewer.number) {
                viewer.due.hello = true;
            }
        }
    }

    fn permit(&mut self, user: &str, permission: Option<Permission>) {
        let writers = &self.writers;
        let is = |viewer: &Viewer| {
            let writer = writers.get(viewer.writer);
            writer.is_some_and(|writer| writer.user == user)
        };
        let whose: Vec<u64> = self
            .viewers
            .iter()
            .filter(|v| is(v))
            .map(|v| v.number)
            .collect();
        let mut changed = false;
        for viewer in &mut self.viewers {
            if !whose.contains(&viewer.number) {
                continue;
            }
            let now = permission.map_or(Permission::Watch, |now| now.min(viewer.asked));
            if now == viewer.permission {
                continue;
            }
            viewer.permission = now;
            viewer.due.hello = true;
            changed = true;
            if now < Permission::Write {
                // What it typed and is not in the terminal yet does not get there any more.
                self.queue.forget(viewer.writer);
                if let Some(writer) = self.writers.get_mut(viewer.writer) {
                    writer.place.accepted = writer.place.received;
                }
                viewer.due.accepted = true;
                if self.driver == Some(viewer.number) {
                    self.driver = None;
                }
            }
        }
        if permission.is_none() {
            let close = Close::new(
                Close::FORBIDDEN,
                "you may not look at this session any more",
            );
            self.cut_where(&close, |viewer| whose.contains(&viewer.number));
        }
        if changed {
            self.viewers_changed();
        }
    }
}

/// A viewer's id: 128 random bits, so that nobody guesses another's.
fn new_id() -> Result<String, Gone> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Gone)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
