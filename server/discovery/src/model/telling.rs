//! What is told, a part at a time.

use porthole_protocol::observation::Update;

use super::{Known, Model};

/// About how many bytes of JSON one update may have; well below the protocol's limit.
const UPDATE_BYTES: usize = 256 * 1024;

/// What an entry of an update has about in JSON, arguments apart.
const ENTRY_BYTES: usize = 1024;

/// What a holder of a namespace, and a range of ids, have about.
const HOLDER_BYTES: usize = 120;
const RANGE_BYTES: usize = 32;

impl Model {
    /// A sentence for people on how changes are learnt of; `None` where that is at once.
    pub(crate) fn notice(&mut self, notice: Option<String>) {
        self.untold.notice |= self.notice != notice;
        self.notice = notice;
    }

    /// A part of what the receiver does not know, which it is then taken to know; `None` if it
    /// knows everything. The first is the beginning.
    pub(crate) fn take_update(&mut self) -> Option<Update> {
        self.settle();
        let untold = &mut self.untold;
        if untold.is_nothing() {
            return None;
        }
        let mut update = Update {
            full: !untold.begun,
            wires: untold.wires,
            notice: self.notice.clone(),
            ..Update::default()
        };
        untold.begun = true;
        untold.notice = false;
        untold.wires = false;
        let mut left = UPDATE_BYTES;
        self.tell_namespaces(&mut update, &mut left);
        self.tell_containers(&mut update, &mut left);
        self.tell_processes(&mut update, &mut left);
        Some(update)
    }

    /// As many namespaces as go into what is left of the update, of about so many bytes.
    fn tell_namespaces(&mut self, update: &mut Update, left: &mut usize) {
        let untold = &mut self.untold.namespaces;
        while *left > 0
            && let Some(inode) = untold.next()
        {
            *left = left.saturating_sub(ENTRY_BYTES / 2);
            if let Some(entry) = self.namespaces.get(&inode) {
                untold.tell(inode);
                let leader = |mnt| self.namespaces.get(&mnt)?.members.first().copied();
                let told = entry.told(inode, &self.initial, leader);
                *left = left.saturating_sub(told.holders.len() * HOLDER_BYTES);
                update.namespaces.push(told);
            } else if untold.tell_gone(&inode) {
                update.namespaces_gone.push(inode);
            }
        }
    }

    /// The same of containers.
    fn tell_containers(&mut self, update: &mut Update, left: &mut usize) {
        let untold = &mut self.untold.containers;
        while *left > 0
            && let Some(id) = untold.next()
        {
            *left = left.saturating_sub(ENTRY_BYTES);
            if let Some(sighting) = self.containers.foreign.get(&id) {
                let ranges = sighting.uid_map.len() + sighting.gid_map.len();
                *left = left.saturating_sub(ranges * RANGE_BYTES);
                untold.tell(id);
                update.containers.push(sighting.clone());
            } else if untold.tell_gone(&id) {
                update.containers_gone.push(id);
            }
        }
    }

    /// The same of processes.
    fn tell_processes(&mut self, update: &mut Update, left: &mut usize) {
        let untold = &mut self.untold.processes;
        while *left > 0
            && let Some(pid) = untold.next()
        {
            if let Some(Known { process, .. }) = self.processes.get(&pid) {
                let args: usize = process.args.iter().map(|arg| arg.len() + 3).sum();
                *left = left.saturating_sub(ENTRY_BYTES + args);
                untold.tell(pid);
                update.processes.push(process.clone());
            } else if untold.tell_gone(&pid) {
                *left = left.saturating_sub(8);
                update.processes_gone.push(pid);
            }
        }
    }
}
