//! What the keeper tells: its containers, sessions and images.

use std::collections::HashSet;
use std::sync::Arc;

use porthole_protocol::container::{Container, ImageName};
use porthole_protocol::id::{ContainerId, SessionId};
use porthole_protocol::image::{ImportStage, Importing};
use porthole_protocol::keeper::{Event, Hello};
use porthole_protocol::session::{Exit, Session};

use super::{Change, State, World};

#[derive(Default)]
pub(super) struct Told {
    containers: HashSet<ContainerId>,
    sessions: HashSet<SessionId>,
    images: HashSet<ImageName>,
}

/// Keeps how far an import has come, until it has come to an end.
fn note_import(imports: &mut Vec<Importing>, now: &Importing) {
    let known = imports.iter().position(|known| known.id == now.id);
    match (known, now.stage) {
        (Some(at), ImportStage::Done | ImportStage::Failed) => drop(imports.remove(at)),
        (None, ImportStage::Done | ImportStage::Failed) => {}
        (Some(at), _) => imports[at] = now.clone(),
        (None, _) => imports.push(now.clone()),
    }
}

impl World {
    /// The keeper has said who it is and begins to tell what there is.
    pub fn keeper_came(&self, hello: Hello) {
        let mut state = self.write();
        state.keeper.hello = Some(hello);
        state.told = Some(Told::default());
    }

    /// The keeper is gone. What was known stays, marked by [`KeeperState::present`].
    pub fn keeper_left(&self) {
        let mut state = self.write();
        state.told = None;
        // What it was at has ended with it; what is being received here goes on.
        let here = |import: &Importing| import.stage == ImportStage::Receiving;
        let imports = std::mem::take(&mut state.imports);
        let (here, its): (Vec<_>, Vec<_>) = imports.into_iter().partition(here);
        state.imports = here;
        for mut import in its {
            import.stage = ImportStage::Failed;
            self.changes.tell(Change::Importing(import));
        }
        if std::mem::take(&mut state.keeper.present) {
            self.changes.tell(Change::Keeper);
        }
    }

    /// Takes note of what the keeper tells.
    pub fn apply(&self, event: Event) {
        let mut state = self.write();
        match event {
            Event::Container(container) => {
                if let Some(told) = &mut state.told {
                    told.containers.insert(container.id.clone());
                }
                self.put_container(&mut state, *container);
            }
            Event::ContainerGone(id) => {
                if let Some(last) = state.containers.remove(&id) {
                    self.changes.tell(Change::ContainerGone(last));
                }
            }
            Event::Session(session) => {
                if let Some(told) = &mut state.told {
                    told.sessions.insert(session.id.clone());
                }
                self.put_session(&mut state, *session);
            }
            Event::SessionGone(id) => {
                if let Some(last) = state.sessions.remove(&id) {
                    self.changes.tell(Change::SessionGone(last));
                }
            }
            Event::Image(image) => {
                if let Some(told) = &mut state.told {
                    told.images.insert(image.name.clone());
                }
                let image = Arc::new(*image);
                let before = state.images.insert(image.name.clone(), image.clone());
                if before.as_deref() != Some(&*image) {
                    self.changes.tell(Change::Image(image));
                }
            }
            Event::ImageGone(name) => {
                if state.images.remove(&name).is_some() {
                    self.changes.tell(Change::ImageGone(name));
                }
            }
            Event::Importing(importing) => {
                note_import(&mut state.imports, &importing);
                self.changes.tell(Change::Importing(importing));
            }
            Event::Synced => self.synced(&mut state),
        }
    }

    /// What an answer of the keeper's says of a container.
    pub fn learn_container(&self, container: &Container) {
        self.put_container(&mut self.write(), container.clone());
    }

    /// A container was removed, as the keeper has answered.
    pub fn forget_container(&self, id: &ContainerId) {
        self.apply(Event::ContainerGone(id.clone()));
    }

    /// What an answer of the keeper's says of a session.
    pub fn learn_session(&self, session: &Session) {
        self.put_session(&mut self.write(), session.clone());
    }

    /// A session was forgotten, as the keeper has answered.
    pub fn forget_session(&self, id: &SessionId) {
        self.apply(Event::SessionGone(id.clone()));
    }

    /// How a session has ended, as its monitor says; the keeper's own word follows.
    pub fn learn_exit(&self, id: &SessionId, exit: &Exit) {
        let mut state = self.write();
        if let Some(session) = state.sessions.get(id)
            && session.exit.is_none()
        {
            let mut ended = Session::clone(session);
            ended.exit = Some(exit.clone());
            self.put_session(&mut state, ended);
        }
    }

    fn put_container(&self, state: &mut State, container: Container) {
        let container = Arc::new(container);
        let id = container.id.clone();
        let before = state.containers.insert(id, container.clone());
        if before.as_deref() != Some(&*container) {
            self.changes.tell(Change::Container(container));
        }
    }

    fn put_session(&self, state: &mut State, session: Session) {
        let session = Arc::new(session);
        let id = session.id.clone();
        let before = state.sessions.insert(id, session.clone());
        if before.as_deref() != Some(&*session) {
            self.changes.tell(Change::Session(session));
        }
    }

    fn synced(&self, state: &mut State) {
        if let Some(told) = state.told.take() {
            for (_, gone) in state
                .containers
                .extract_if(.., |id, _| !told.containers.contains(id))
            {
                self.changes.tell(Change::ContainerGone(gone));
            }
            for (_, gone) in state
                .sessions
                .extract_if(.., |id, _| !told.sessions.contains(id))
            {
                self.changes.tell(Change::SessionGone(gone));
            }
            for (gone, _) in state
                .images
                .extract_if(.., |name, _| !told.images.contains(name))
            {
                self.changes.tell(Change::ImageGone(gone));
            }
        }
        if !std::mem::replace(&mut state.keeper.present, true) {
            self.changes.tell(Change::Keeper);
        }
    }
}
