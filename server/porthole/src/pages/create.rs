//! The form that makes a container.

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::view::create::{CreatePage, Preview};
use super::view::settings::usage;
use super::view::typed::{Errors, Typed, form_field};
use super::view::words::sentence;
use super::{Visit, page};
use crate::Refusal;
use crate::actions::{containers, limits};

/// The image that is chosen for who has not chosen yet: the machine's own, if it can be used.
fn proposed(visit: &Visit, asked: &Asked) -> Option<String> {
    let images = visit.state.world.images();
    let usable = images.iter().filter(|image| image.unavailable.is_none());
    let called = |name| usable.clone().find(|image| image.name.as_str() == name);
    called(asked.image.as_str())
        .or_else(|| called("host"))
        .or_else(|| usable.clone().next())
        .map(|image| image.name.to_string())
}

fn show(visit: &Visit, status: StatusCode, typed: Typed, errors: Errors) -> Response {
    let shell = visit.shell("containers");
    let (state, account) = (&visit.state, &visit.who.account);
    let mut form = CreatePage::new(&state.world, visit.scene(), typed, errors, shell);
    let used = limits::used(&state.world, &account.name);
    form.usage = usage::of_containers(&used, &limits::allowed(state, account));
    page(status, &form)
}

/// What the address of the form says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// The image that is chosen already.
    image: String,
}

/// `/containers/new`, `/containers/new?image=web:1`.
pub(super) async fn form(visit: Visit, asked: Result<Query<Asked>, QueryRejection>) -> Response {
    let Query(asked) = asked.unwrap_or_default();
    let typed = Typed::fresh(proposed(&visit, &asked).as_deref());
    show(&visit, StatusCode::OK, typed, Errors::new())
}

/// What the form would make, as one types.
pub(super) async fn preview(visit: Visit, typed: Result<Form<Typed>, FormRejection>) -> Response {
    match typed {
        Ok(Form(typed)) => {
            let origin = visit.shell("").origin;
            page(StatusCode::OK, &Preview::of(&typed, &origin))
        }
        Err(why) => visit.refuse(Refusal::malformed(why.body_text())),
    }
}

/// Makes it. What cannot be used comes back beside its field, with everything as it was typed.
pub(super) async fn make(visit: Visit, typed: Result<Form<Typed>, FormRejection>) -> Response {
    let typed = match typed {
        Ok(Form(typed)) => typed,
        Err(why) => return visit.refuse(Refusal::malformed(why.body_text())),
    };
    let spec = match typed.parse() {
        Ok(spec) => spec,
        Err(errors) => return show(&visit, StatusCode::UNPROCESSABLE_ENTITY, typed, errors),
    };
    match containers::create(&visit.state, &visit.who, spec).await {
        Ok(container) => visit.go(&format!(
            "/containers/{}",
            super::view::reference(&visit.state.world, &container.into())
        )),
        Err(refusal) => {
            let field = refusal.field.as_deref().map(form_field);
            let name = field.unwrap_or_else(|| match refusal.code {
                "name_in_use" => "name".to_owned(),
                "image_not_found" => "image".to_owned(),
                "command_not_found" | "not_executable" => "command".to_owned(),
                _ => String::new(),
            });
            let errors = Errors::from([(name, sentence(&refusal.message))]);
            show(&visit, refusal.status, typed, errors)
        }
    }
}
