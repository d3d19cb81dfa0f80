//! Images: import, tag, remove, prune. All of it is for administrators: everybody's containers are
//! made of them.
//!
//! An import goes on to its end whatever becomes of who asked for it, so that the audit trail and
//! everybody who looks are told what came of it: one whose client hangs up before all has arrived has
//! failed, later it is done.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use porthole_protocol::container::{Image, ImageName};
use porthole_protocol::id::ImportId;
use porthole_protocol::image::{ImageBounds, ImportStage, Importing};
use porthole_protocol::keeper::Event;
use serde_json::json;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;

use super::audited;
use crate::access::Identity;
use crate::access::secret::random;
use crate::server::ending;
use crate::store::Act;
use crate::{AppState, Refusal};

/// Archives that are received at once.
static RECEIVING: Semaphore = Semaphore::const_new(2);

/// Pieces of a body that wait for the disk.
const PIECES: usize = 16;

/// How often it is told how much has come.
const PACE: Duration = Duration::from_millis(250);

/// What was asked to be imported.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What the import is called.
    pub id: ImportId,
    /// The image's name; where nothing is given, as the archive calls it.
    pub name: Option<ImageName>,
    /// How long the archive is, where the client says so.
    pub length: Option<u64>,
}

/// What an import is called whose client does not choose.
pub fn new_id() -> ImportId {
    ImportId::from_bytes(random())
}

/// Archives that are being received, by what their imports are called.
#[derive(Default)]
pub struct Receiving(Mutex<HashMap<ImportId, Arc<Notify>>>);

impl Receiving {
    fn all(&self) -> MutexGuard<'_, HashMap<ImportId, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, until the answer is dropped.
    fn begin(&self, id: &ImportId) -> Result<Received<'_>, Refusal> {
        let ended = Arc::new(Notify::new());
        match self.all().entry(id.clone()) {
            Entry::Occupied(_) => Err(Refusal::conflict(
                "wrong_state",
                "An import of this identifier goes on already. Choose another one.",
            )
            .field("import")),
            Entry::Vacant(place) => {
                place.insert(Arc::clone(&ended));
                Ok(Received {
                    all: self,
                    id: id.clone(),
                    ended,
                })
            }
        }
    }

    /// Ends one; whether there was one.
    fn end(&self, id: &ImportId) -> bool {
        let ended = self.all().get(id).cloned();
        ended.inspect(|ended| ended.notify_one()).is_some()
    }
}

struct Received<'a> {
    all: &'a Receiving,
    id: ImportId,
    ended: Arc<Notify>,
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        self.all.all().remove(&self.id);
    }
}

/// Receives an archive and has an image made of it. Receiving it ends with the rights to do so.
pub async fn import(
    state: &AppState,
    identity: &Identity,
    asked: Asked,
    body: Body,
) -> Result<Arc<Image>, Refusal> {
    let (state, identity) = (state.clone(), identity.clone());
    let doing = async move { import_to_the_end(&state, &identity, asked, body).await };
    tokio::spawn(doing).await.map_err(|_| Refusal::internal())?
}

async fn import_to_the_end(
    state: &AppState,
    identity: &Identity,
    asked: Asked,
    body: Body,
) -> Result<Arc<Image>, Refusal> {
    let object = asked.name.as_ref().map(ToString::to_string);
    let detail = json!({"import": asked.id, "length": asked.length});
    let doing = async {
        let _place = RECEIVING.try_acquire().map_err(|_| {
            Refusal::too_many(
                "Two archives are being received already. Try again when one of them is there.",
                5,
            )
        })?;
        let received = state.receiving.begin(&asked.id)?;
        let mut untold = Untold::new(state, identity, &asked);
        tell(state, identity, &asked, ImportStage::Receiving, 0);
        let archive = tokio::select! {
            biased;
            () = received.ended.notified() => Err(Refusal::conflict(
                "cancelled",
                "The import was ended while the archive was on its way.",
            )),
            () = state.access.standing.lost(&state.store, identity) => Err(Refusal::forbidden(
                "You were signed out, or your role has changed, while the archive was on its way.",
            )),
            () = ending(state) => Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "restarting",
                "Porthole is restarting. Send the archive again in a moment.",
            )),
            archive = receive(state, identity, &asked, body) => archive,
        };
        let archive = archive?;
        // From here on it is the keeper's: what is asked of it to end comes behind this.
        drop(received);
        let owner = identity.name().clone();
        let imported = state
            .keeper
            .import_image(asked.id.clone(), asked.name.clone(), owner, archive.into())
            .await;
        let imported = imported?;
        untold.failed = None;
        Ok(Arc::new(imported))
    };
    let object = object.unwrap_or_default();
    audited(state, identity, Act::ImageImport, &object, detail, doing).await
}

/// Ends an import, be it that its archive is being received here or that the keeper is at it.
pub async fn cancel(state: &AppState, identity: &Identity, id: &ImportId) -> Result<(), Refusal> {
    let doing = async {
        if state.receiving.end(id) {
            return Ok(());
        }
        Ok(state.keeper.cancel_import(id.clone()).await?)
    };
    let imports = state.world.imports();
    let import = imports.iter().find(|import| import.id == *id);
    let name = import.and_then(|import| import.name.as_ref());
    let object = name.map(ToString::to_string).unwrap_or_default();
    let detail = json!({"import": id});
    audited(state, identity, Act::ImportCancel, &object, detail, doing).await
}

/// Tells everybody that an import has come to nothing, unless it is taken back.
struct Untold<'a> {
    state: &'a AppState,
    failed: Option<Importing>,
}

impl<'a> Untold<'a> {
    fn new(state: &'a AppState, identity: &Identity, asked: &Asked) -> Self {
        Self {
            state,
            failed: Some(importing(identity, asked, ImportStage::Failed, 0)),
        }
    }
}

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        if let Some(failed) = self.failed.take() {
            self.state.world.apply(Event::Importing(failed));
        }
    }
}

fn importing(identity: &Identity, asked: &Asked, stage: ImportStage, done: u64) -> Importing {
    Importing {
        id: asked.id.clone(),
        name: asked.name.clone(),
        owner: identity.name().clone(),
        stage,
        done,
        total: asked.length.unwrap_or(0),
    }
}

fn tell(state: &AppState, identity: &Identity, asked: &Asked, stage: ImportStage, done: u64) {
    let event = Event::Importing(importing(identity, asked, stage, done));
    state.world.apply(event);
}

/// Puts a body into a file without a name.
async fn receive(
    state: &AppState,
    identity: &Identity,
    asked: &Asked,
    body: Body,
) -> Result<File, Refusal> {
    let most = bounds(state).archive;
    if asked.length.is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    let directory = state.settings.root.join("server");
    let (pieces, receiver) = mpsc::channel::<Bytes>(PIECES);
    let writer = tokio::task::spawn_blocking(move || write(&directory, receiver));
    let sent = async {
        let mut told = Instant::now();
        let (mut length, mut writing) = (0, true);
        let mut stream = body.into_data_stream();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| {
                incomplete(format!(
                    "The archive did not arrive whole: after {length} bytes its client was gone, or too slow ({error}). Send it again."
                ))
            })?;
            length += piece.len() as u64;
            if length > most {
                return Err(too_large(most));
            }
            // Whoever writes has failed, and says why. The client is heard out all the same: many
            // do not listen before they have said everything.
            writing = writing && pieces.send(piece).await.is_ok();
            if told.elapsed() >= PACE {
                told = Instant::now();
                tell(state, identity, asked, ImportStage::Receiving, length);
            }
        }
        Ok(length)
    };
    let sent = sent.await;
    drop(pieces);
    let written = writer.await.map_err(|_| Refusal::internal())?;
    let length = sent?;
    if asked.length.is_some_and(|said| said != length) {
        return Err(incomplete(format!(
            "Of the archive {length} bytes have arrived, which are fewer than were to come. Send it again."
        )));
    }
    written.map_err(|error| crate::hubs::journal_failed(error).field("archive"))
}

/// The most that is taken of an archive, as the keeper says.
fn bounds(state: &AppState) -> ImageBounds {
    let hello = state.world.keeper().hello;
    hello.map_or_else(ImageBounds::default, |hello| hello.policy.images)
}

fn incomplete(message: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, Refusal::INCOMPLETE, message)
}

fn too_large(most: u64) -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!(
            "An archive has at most {most} bytes here; root can allow more in Porthole's policy (images.archive)."
        ),
    )
    .field("archive")
}

fn write(directory: &Path, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<File> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .custom_flags(rustix::fs::OFlags::TMPFILE.bits().cast_signed())
        .mode(0o600)
        .open(directory)?;
    while let Some(piece) = pieces.blocking_recv() {
        file.write_all(&piece)?;
    }
    Ok(file)
}

/// Gives an image another name.
pub async fn tag(
    state: &AppState,
    identity: &Identity,
    image: &Image,
    name: ImageName,
) -> Result<Arc<Image>, Refusal> {
    let detail = json!({"name": name});
    let doing = async {
        let tagged = state.keeper.tag_image(image.name.clone(), name).await?;
        Ok(Arc::new(tagged))
    };
    audited(
        state,
        identity,
        Act::ImageTag,
        image.name.as_str(),
        detail,
        doing,
    )
    .await
}

/// What has been removed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Gone {
    /// Names that are gone.
    pub removed: Vec<ImageName>,
    /// Bytes on the disk that nothing needs any more.
    pub freed: u64,
}

/// Takes an image's name away, and the image with its last one.
pub async fn remove(
    state: &AppState,
    identity: &Identity,
    image: &ImageName,
) -> Result<Gone, Refusal> {
    let doing = async { Ok(state.keeper.remove_image(image.clone()).await?) };
    audited(
        state,
        identity,
        Act::ImageRemove,
        image.as_str(),
        json!({}),
        doing,
    )
    .await
}

/// Removes images that no container is made of: those without a name, or all.
pub async fn prune(state: &AppState, identity: &Identity, all: bool) -> Result<Gone, Refusal> {
    let doing = async { Ok(state.keeper.prune_images(all).await?) };
    let detail = json!({"all": all});
    audited(state, identity, Act::ImagePrune, "", detail, doing).await
}
