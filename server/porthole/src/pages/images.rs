//! Images: the list with the form that imports one, one of them, and what changes them. An archive
//! itself is sent to the API, by the page's script.

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use porthole_protocol::id::ImportId;
use serde::Deserialize;

use super::view::images::one::{ImagePage, RemovePage};
use super::view::images::prune::{PrunePage, Waste};
use super::view::images::{ImagesPage, Listing, called, path_of};
use super::view::words::{bytes, sentence};
use super::{Visit, page};
use crate::Refusal;
use crate::actions::images::{self, Gone};
use crate::api::images::{ImageView, find, views};

/// `/images`.
pub(super) async fn list(
    visit: Visit,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Response {
    let Query(listing) = listing.unwrap_or_default();
    let shell = visit.live_shell("images");
    page(
        StatusCode::OK,
        &ImagesPage::new(&visit.state.world, visit.scene(), &listing, shell),
    )
}

/// The list, with what has just been done.
fn done(visit: &Visit, words: String) -> Response {
    let shell = visit.shell("images").following("/images");
    let listing = Listing::default();
    let mut list = ImagesPage::new(&visit.state.world, visit.scene(), &listing, shell);
    list.done = words;
    page(StatusCode::OK, &list)
}

/// `POST /imports/{id}/stop`. The page's stream tells the rest.
pub(super) async fn stop(visit: Visit, Path(id): Path<ImportId>) -> Response {
    match images::cancel(&visit.state, &visit.who, &id).await {
        Ok(()) => visit.go("/images"),
        Err(refusal) => visit.refuse(refusal),
    }
}

/// What a path means, as it is shown.
fn shown(visit: &Visit, name: &str) -> Result<ImageView, Refusal> {
    let image = find(&visit.state.world, name)?;
    let mut all = views(&visit.state.world).into_iter();
    all.find(|view| view.name == image.name)
        .ok_or_else(|| Refusal::not_found("image_not_found", "The image was removed meanwhile."))
}

/// `/images/{image}`.
pub(super) async fn one(visit: Visit, Path(name): Path<String>) -> Response {
    match shown(&visit, &name) {
        Ok(view) => {
            let shell = visit.live_shell("images");
            let shown = ImagePage::new(&visit.state.world, visit.scene(), &view, shell);
            page(StatusCode::OK, &shown)
        }
        Err(refusal) => visit.refuse(refusal),
    }
}

/// The form that gives another name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TagForm {
    name: String,
}

/// `POST /images/{image}/tag`. What cannot be a name comes back beside its field.
pub(super) async fn tag(
    visit: Visit,
    Path(name): Path<String>,
    form: Result<Form<TagForm>, FormRejection>,
) -> Response {
    let typed = match form {
        Ok(Form(form)) => form.name,
        Err(why) => return visit.refuse(Refusal::malformed(why.body_text())),
    };
    let view = match shown(&visit, &name) {
        Ok(view) => view,
        Err(refusal) => return visit.refuse(refusal),
    };
    match tagged(&visit, &name, &typed).await {
        Ok(to) => visit.go(&to),
        Err(refusal) => {
            let at = path_of(view.name.as_str());
            let shell = visit.shell("images").following(at);
            let mut shown = ImagePage::new(&visit.state.world, visit.scene(), &view, shell);
            shown.typed = typed;
            shown.error = sentence(&refusal.message);
            page(refusal.status, &shown)
        }
    }
}

async fn tagged(visit: &Visit, name: &str, typed: &str) -> Result<String, Refusal> {
    let image = find(&visit.state.world, name)?;
    let new = typed
        .trim()
        .parse()
        .map_err(|why: porthole_protocol::container::Invalid| {
            Refusal::unusable("name", why.to_string())
        })?;
    let tagged = images::tag(&visit.state, &visit.who, &image, new).await?;
    Ok(path_of(tagged.name.as_str()))
}

/// `/images/{image}/remove`: the question.
pub(super) async fn ask_remove(visit: Visit, Path(name): Path<String>) -> Response {
    match shown(&visit, &name) {
        Ok(view) => {
            let shell = visit.shell("images");
            let asked = RemovePage::new(&visit.state.world, &view, shell, String::new());
            page(StatusCode::OK, &asked)
        }
        Err(refusal) => visit.refuse(refusal),
    }
}

/// `POST /images/{image}/remove`: the answer.
pub(super) async fn remove(visit: Visit, Path(name): Path<String>) -> Response {
    let view = match shown(&visit, &name) {
        Ok(view) => view,
        Err(refusal) => return visit.refuse(refusal),
    };
    match images::remove(&visit.state, &visit.who, &view.name).await {
        Ok(gone) => done(&visit, gone_words(&gone)),
        Err(refusal) => {
            let shell = visit.shell("images");
            let why = sentence(&refusal.message);
            let asked = RemovePage::new(&visit.state.world, &view, shell, why);
            page(refusal.status, &asked)
        }
    }
}

/// `/images/prune`: what would go.
pub(super) async fn ask_prune(visit: Visit) -> Response {
    let shell = visit.shell("images");
    let asked = PrunePage::new(&visit.state.world, shell, String::new());
    page(StatusCode::OK, &asked)
}

/// The answer to it.
#[derive(Debug, Deserialize)]
pub(super) struct PruneForm {
    /// `unnamed` or `unused`.
    what: String,
    /// What the question has named, as [`Waste::mark`] has it.
    mark: String,
}

/// `POST /images/prune`.
pub(super) async fn prune(visit: Visit, form: Result<Form<PruneForm>, FormRejection>) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(why) => return visit.refuse(Refusal::malformed(why.body_text())),
    };
    match pruned(&visit, &form).await {
        Ok(gone) => done(&visit, gone_words(&gone)),
        Err(refusal) => {
            let shell = visit.shell("images");
            let why = sentence(&refusal.message);
            page(
                refusal.status,
                &PrunePage::new(&visit.state.world, shell, why),
            )
        }
    }
}

async fn pruned(visit: &Visit, form: &PruneForm) -> Result<Gone, Refusal> {
    let all = form.what == "unused";
    if Waste::of(&visit.state.world, all).mark() != form.mark {
        return Err(Refusal::conflict(
            "changed_meanwhile",
            "What nothing uses is not the same as when this was asked. Look at it again.",
        ));
    }
    images::prune(&visit.state, &visit.who, all).await
}

fn gone_words(gone: &Gone) -> String {
    let names: Vec<_> = gone.removed.iter().map(called).collect();
    if names.is_empty() {
        return "Nothing was removed: nothing there was unused.".to_owned();
    }
    format!(
        "Removed: {}. {}",
        names.join(", "),
        match gone.freed {
            0 => "No layer went with it: other images or names have them too.".to_owned(),
            freed => format!("{} of disk are free again.", bytes(freed)),
        }
    )
}
