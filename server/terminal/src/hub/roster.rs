//! Who is here: each is served, told of the others, and let go.

use std::io;

use tokio::time::Instant;

use super::Hub;
use crate::handle::{Close, Permission, ViewerInfo};
use crate::viewer::{Served, View, Viewer};

impl Hub {
    /// Lets every viewer have what it can have, and begins what that needs.
    pub(super) fn serve(&mut self) {
        let mut viewers = std::mem::take(&mut self.viewers);
        let view = View {
            reader: &self.reader,
            recent: &self.recent,
            writers: &self.writers,
            end: self.end,
            kept_from: self.kept_from,
            chunk: self.chunk.as_ref(),
            exit: self.exit.as_ref(),
            driver: self.driver,
            recorded: self.recorded,
            tty: self.tty,
            roster: &self.roster,
            now: Instant::now(),
        };
        let mut gone = Vec::new();
        let mut index = 0;
        while let Some(viewer) = viewers.get_mut(index) {
            match viewer.serve(&view) {
                Ok(Served::Open) => index += 1,
                served => gone.push((viewers.remove(index), served)),
            }
        }
        self.viewers = viewers;
        self.chunk = None;
        if !gone.is_empty() {
            for (viewer, served) in gone {
                self.on_gone(viewer, served);
            }
            self.viewers_changed();
            // The driver may have been among them.
            return self.serve();
        }
        if self.is_waited_for() {
            if self.painter.is_drawing() {
                // What is drawn for later makes room for what is waited for, and is not lost.
                self.painter.stop_ahead();
            } else {
                self.draw(true);
            }
        }
    }

    pub(super) fn on_gone(&mut self, viewer: Viewer, served: io::Result<Served>) {
        self.forget(&viewer);
        match served {
            Ok(Served::Finished) => {
                viewer.finish(Close::new(Close::NORMAL, "the session has ended"));
            }
            Ok(Served::Left | Served::Open) => {}
            Err(error) => {
                tracing::error!(%error, "a session's journal could not be read");
                viewer.cut(Close::new(
                    Close::INTERNAL,
                    "the session's journal cannot be read",
                ));
            }
        }
    }

    /// A viewer's connection is over; what it typed is not.
    pub(super) fn forget(&mut self, viewer: &Viewer) {
        self.writers.left(viewer.writer, Instant::now());
        if self.driver == Some(viewer.number) {
            self.driver = None;
        }
    }

    pub(super) fn cut_where(&mut self, close: &Close, which: impl Fn(&Viewer) -> bool) {
        let viewers = std::mem::take(&mut self.viewers);
        let (cut, kept): (Vec<_>, Vec<_>) = viewers.into_iter().partition(which);
        self.viewers = kept;
        if cut.is_empty() {
            return;
        }
        for viewer in cut {
            self.forget(&viewer);
            viewer.cut(close.clone());
        }
        self.viewers_changed();
    }

    pub(super) fn close(&mut self, close: &Close) {
        self.closed = true;
        self.cut_where(close, |_| true);
    }

    /// Who is here or may do what has changed.
    pub(super) fn viewers_changed(&mut self) {
        if self.driver.is_none() {
            let mut writers = self
                .viewers
                .iter()
                .filter(|viewer| viewer.permission == Permission::Write);
            self.driver = writers.next().map(|viewer| viewer.number);
            for viewer in &mut self.viewers {
                if self.driver == Some(viewer.number) {
                    viewer.due.hello = true;
                }
            }
        }
        let infos = self.viewer_infos();
        self.roster = roster(&infos);
        for viewer in &mut self.viewers {
            viewer.due.viewers = true;
        }
        self.publish();
        self.size_of_driver();
    }

    pub(super) fn viewer_infos(&self) -> Vec<ViewerInfo> {
        let info = |viewer: &Viewer| {
            let writer = self.writers.get(viewer.writer)?;
            Some(ViewerInfo {
                id: writer.id.clone(),
                user: writer.user.clone(),
                permission: viewer.permission,
                drives: self.driver == Some(viewer.number),
            })
        };
        self.viewers.iter().filter_map(info).collect()
    }
}

fn roster(viewers: &[ViewerInfo]) -> String {
    let one = |viewer: &ViewerInfo| {
        serde_json::json!({
            "user": viewer.user,
            "mode": if viewer.permission == Permission::Write { "write" } else { "watch" },
            "drives": viewer.drives,
        })
    };
    serde_json::Value::from_iter(viewers.iter().map(one)).to_string()
}
