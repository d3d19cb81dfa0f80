//! What each route demands, checked in one place before its handler runs.
//!
//! A route names its object by a path parameter, `{container}` or `{session}`. The guard finds
//! the object, checks the permission on it and hands that very object to the handler, which takes
//! [`TheContainer`] or [`TheSession`] and looks nothing up again.
//!
//! A client may send the head of a change and hold its body back for as long as it likes, so both
//! are done again once all of it is there: what was taken away meanwhile is not used any more. From
//! then on a change goes to its end, also where the client hangs up: of one that is dropped half way
//! a container would be made and never started, and the audit trail would not know what came of it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use porthole_protocol::container::Container;
use porthole_protocol::id::SessionId;
use porthole_protocol::session::Session;
use tracing::Instrument as _;

use super::identity::{Authenticated, Identity, Role};
use crate::actions::sessions::may_look;
use crate::api::attach;
use crate::api::body::read;
use crate::routes::Face;
use crate::world::{AnyContainer, FindError};
use crate::{AppState, Refusal, pages};

/// What a route demands of who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Nothing: anybody who reaches the server.
    Public,
    /// An account, whatever its role; what it does concerns this account alone.
    SignedIn,
    /// An account: lists, and what every list shows.
    See,
    /// A user or an administrator: makes something that is theirs.
    Create,
    /// An account; the container of the path exists.
    SeeContainer,
    /// What happens inside the container: its owner, administrators, viewers.
    LookIntoContainer,
    /// Changes the container: its owner, administrators.
    ChangeContainer,
    /// An account; the session of the path exists.
    SeeSession,
    /// What happens in the session: its owner, administrators, viewers.
    LookIntoSession,
    /// Changes the session: its owner, administrators.
    ChangeSession,
    /// An administrator.
    Administer,
}

impl Permission {
    /// Whether a request that is no GET changes anything. One that only sees waits for something, for
    /// as long as somebody wants to know.
    const fn changes(self) -> bool {
        match self {
            Self::Public
            | Self::SignedIn
            | Self::Create
            | Self::ChangeContainer
            | Self::ChangeSession
            | Self::Administer => true,
            Self::See
            | Self::SeeContainer
            | Self::LookIntoContainer
            | Self::SeeSession
            | Self::LookIntoSession => false,
        }
    }
}

/// The container that a route's permission was checked on, which is one of Porthole's own: another
/// engine's is refused.
#[derive(Debug, Clone)]
pub struct TheContainer(pub Arc<Container>);

/// The container that a route's permission was checked on, whoever made it.
#[derive(Debug, Clone)]
pub struct TheAnyContainer(pub AnyContainer);

/// The session that a route's permission was checked on.
#[derive(Debug, Clone)]
pub struct TheSession(pub Arc<Session>);

macro_rules! checked_object {
    ($name:ident) => {
        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = Refusal;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
                // Missing only where a handler asks for what its route's permission is not about.
                let found = parts.extensions.get::<Self>().cloned();
                found.ok_or_else(|| {
                    tracing::error!(
                        path = parts.uri.path(),
                        "a handler takes an object that its route does not name"
                    );
                    Refusal::internal()
                })
            }
        }
    };
}
checked_object!(TheAnyContainer);
checked_object!(TheSession);

impl<S: Send + Sync> FromRequestParts<S> for TheContainer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let TheAnyContainer(found) = TheAnyContainer::from_request_parts(parts, state).await?;
        match found {
            AnyContainer::Own(own) => Ok(Self(own)),
            AnyContainer::Foreign(foreign) => Err(FindError::not_own(&foreign).into()),
        }
    }
}

/// What a guard needs to know of its route.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) state: AppState,
    pub(crate) permission: Permission,
    pub(crate) face: Face,
    /// Whether all of a change's body is there before its handler runs.
    pub(crate) gathers: bool,
}

/// How long a client may take for the whole body of a change.
const BODY_TIME: Duration = Duration::from_secs(60);

/// The layer in front of every route.
pub(crate) async fn guard(
    State(guard): State<Guard>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let identity = parts
        .extensions
        .get::<Authenticated>()
        .and_then(|a| a.0.clone());
    let identity = identity.as_deref();
    let checked = match &params {
        Ok(params) => match guard.check(identity, params) {
            Ok(_) if guard.gathers && !parts.method.is_safe() => {
                guard.hear_out(identity, params, body).await
            }
            checked => checked.map(|objects| (objects, body)),
        },
        Err(_) => Err(Refusal::malformed(
            "This address holds bytes that are no UTF-8, so it names nothing.",
        )),
    };
    match checked {
        Ok((objects, body)) => {
            let mut request = Request::from_parts(parts, body);
            if let Some(container) = objects.container {
                request.extensions_mut().insert(TheAnyContainer(container));
            }
            if let Some(session) = objects.session {
                request.extensions_mut().insert(TheSession(session));
            }
            if guard.gathers && guard.permission.changes() && !request.method().is_safe() {
                to_the_end(next.run(request)).await
            } else {
                next.run(request).await
            }
        }
        Err(refusal) => guard.refuse(identity, parts, refusal).await,
    }
}

/// Does a change in a task of its own: dropping this does not stop it.
async fn to_the_end(change: impl Future<Output = Response> + Send + 'static) -> Response {
    match tokio::spawn(change.in_current_span()).await {
        Ok(response) => response,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and the connection with it.
            Err(_) => Refusal::internal().into_response(),
        },
    }
}

#[derive(Default)]
struct Objects {
    container: Option<AnyContainer>,
    session: Option<Arc<Session>>,
}

impl Guard {
    fn check(
        &self,
        identity: Option<&Identity>,
        params: &RawPathParams,
    ) -> Result<Objects, Refusal> {
        let mut objects = Objects::default();
        if self.permission == Permission::Public {
            return Ok(objects);
        }
        let identity = identity.ok_or_else(Refusal::not_signed_in)?;
        match self.permission {
            Permission::Public | Permission::SignedIn | Permission::See => {}
            Permission::Create => demand(
                identity.may_create(),
                "Viewers make nothing. Ask an administrator for the role \"user\".",
            )?,
            Permission::Administer => demand(
                identity.role() == Role::Admin,
                "This is for administrators.",
            )?,
            Permission::SeeContainer => objects.container = Some(self.container(params)?),
            Permission::LookIntoContainer => {
                let container = self.container(params)?;
                demand(
                    identity.may_look_into_container(&container),
                    "This container is another person's: only they, viewers and administrators see what happens inside.",
                )?;
                objects.container = Some(container);
            }
            Permission::ChangeContainer => {
                let container = self.container(params)?;
                demand(
                    identity.may_change_any(&container),
                    "This container is another person's: only they and administrators change it.",
                )?;
                objects.container = Some(container);
            }
            Permission::SeeSession => objects.session = Some(self.session(params)?),
            Permission::LookIntoSession => {
                let session = self.session(params)?;
                demand(
                    may_look(&self.state.world, identity, &session),
                    "This session is another person's, or an administrator's in the host's namespaces: only they, viewers and administrators see what happens in it.",
                )?;
                objects.session = Some(session);
            }
            Permission::ChangeSession => {
                let session = self.session(params)?;
                demand(
                    identity.may_change_session(&session),
                    "This session is another person's: only they and administrators change it.",
                )?;
                objects.session = Some(session);
            }
        }
        Ok(objects)
    }

    /// Waits for all of a body, and looks again at what may have changed since.
    async fn hear_out(
        &self,
        identity: Option<&Identity>,
        params: &RawPathParams,
        body: Body,
    ) -> Result<(Objects, Body), Refusal> {
        let heard = tokio::time::timeout(BODY_TIME, read(body)).await;
        let bytes = heard.map_err(|_| {
            Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "too_slow",
                "The body did not arrive within a minute. Send it again.",
            )
        })??;
        if let Some(identity) = identity
            && self.permission != Permission::Public
            && !self.state.store.still(identity)?
        {
            return Err(Refusal::forbidden(
                "You were signed out, or your role has changed, while the request was on its way.",
            ));
        }
        Ok((self.check(identity, params)?, Body::from(bytes)))
    }

    fn container(&self, params: &RawPathParams) -> Result<AnyContainer, Refusal> {
        let reference = parameter(params, "container")?;
        self.state
            .world
            .find_any(reference)
            .map_err(|error| self.unknown(error.into()))
    }

    /// Why something is not known: before the keeper has told everything, nobody can say that it
    /// is not there. A page that goes on after a restart would take that for the end.
    fn unknown(&self, not_there: Refusal) -> Refusal {
        if self.state.world.keeper().present {
            not_there
        } else {
            Refusal::keeper_away()
        }
    }

    fn session(&self, params: &RawPathParams) -> Result<Arc<Session>, Refusal> {
        let not_found = || {
            Refusal::not_found(
                "session_not_found",
                "There is no such session. It may have been removed with its container.",
            )
        };
        let id: SessionId = parameter(params, "session")?
            .parse()
            .map_err(|_| not_found())?;
        self.state
            .world
            .session(&id)
            .ok_or_else(|| self.unknown(not_found()))
    }

    async fn refuse(
        &self,
        identity: Option<&Identity>,
        mut parts: Parts,
        refusal: Refusal,
    ) -> Response {
        match self.face {
            Face::Page => {
                pages::refused(&self.state, identity, &parts.uri, &parts.headers, refusal)
            }
            Face::Socket if identity.is_some() => attach::refuse(&mut parts, refusal).await,
            Face::Api | Face::Socket => refusal.into_response(),
        }
    }
}

fn demand(allowed: bool, otherwise: &str) -> Result<(), Refusal> {
    if allowed {
        Ok(())
    } else {
        Err(Refusal::forbidden(otherwise))
    }
}

fn parameter<'a>(params: &'a RawPathParams, name: &str) -> Result<&'a str, Refusal> {
    params
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .ok_or_else(|| {
            tracing::error!(
                name,
                "a route demands a permission on something that its path does not name"
            );
            Refusal::internal()
        })
}

impl From<FindError> for Refusal {
    fn from(error: FindError) -> Self {
        let message = error.to_string();
        match error {
            FindError::NotFound(_) => Self::not_found("container_not_found", message),
            FindError::NotUnique(_) => Self::new(StatusCode::CONFLICT, "not_unique", message),
            FindError::NotOwn { .. } => Self::new(StatusCode::CONFLICT, "not_own", message),
        }
    }
}
