//! Who sends a request.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use porthole_protocol::container::{Container, Invalid, Owner, Timestamp};
use porthole_protocol::session::Session;
use serde::{Deserialize, Serialize};

use super::limits::Said;
use crate::Refusal;
use crate::world::AnyContainer;

/// What an account may do. Each includes what the ones before it may change, which is nothing for
/// a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at everything and changes nothing.
    Viewer,
    /// Makes containers and works in their own; of others' sees that they are there.
    User,
    /// Everything.
    Admin,
}

impl Role {
    /// All, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::User, Self::Admin];

    /// Its word in JSON, on screen and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|r| r.name() == text)
            .ok_or(Invalid("a role is \"viewer\", \"user\" or \"admin\""))
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Its number in the database; 0 for local users of the unix socket.
    #[serde(skip)]
    pub id: i64,
    /// Its name, which owns containers and sessions.
    pub name: Owner,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when nobody signs in to it.
    pub disabled_at: Option<Timestamp>,
    /// Grows with every change by an administrator: who changes it says which one they looked at.
    pub revision: i64,
    /// What an administrator has set for it; the rest is as by default.
    pub limits: Said,
}

impl Account {
    /// One that is as it was made.
    pub fn new(id: i64, name: Owner, role: Role, created_at: Timestamp) -> Self {
        Self {
            id,
            name,
            role,
            created_at,
            disabled_at: None,
            revision: 1,
            limits: Said::default(),
        }
    }
}

/// The SHA-256 of a secret that somebody holds: the only form in which secrets are kept.
pub type SecretHash = [u8; 32];

/// How somebody proved who they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Via {
    /// A browser's cookie: the hash of its token.
    Login(SecretHash),
    /// A token of a machine: its hash.
    Token(SecretHash),
    /// The unix socket, which only root and the group `porthole` can open.
    Local,
}

/// Somebody who is signed in. As an extractor: refuses with 401 where nobody is; take
/// `Option<Identity>` on public routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whose account.
    pub account: Account,
    /// How it was proved.
    pub via: Via,
    /// From which address; nobody's over the unix socket.
    pub from: Option<IpAddr>,
}

impl Identity {
    /// The name that owns what this person makes.
    pub fn name(&self) -> &Owner {
        &self.account.name
    }

    /// What the account may do.
    pub fn role(&self) -> Role {
        self.account.role
    }

    /// Whether this is an administrator.
    pub fn is_admin(&self) -> bool {
        self.role() == Role::Admin
    }

    /// Whether containers may be created.
    pub fn may_create(&self) -> bool {
        self.role() >= Role::User
    }

    /// Whether things of this owner may be changed: started, removed, typed into.
    pub fn may_change(&self, owner: &Owner) -> bool {
        match self.role() {
            Role::Admin => true,
            Role::User => self.name() == owner,
            Role::Viewer => false,
        }
    }

    /// Whether what happens inside things of this owner may be seen: logs, terminals, variables.
    pub fn may_look_into(&self, owner: &Owner) -> bool {
        match self.role() {
            Role::Admin | Role::Viewer => true,
            Role::User => self.name() == owner,
        }
    }

    /// Whether what processes of the host do, outside containers, may be seen: their arguments.
    pub fn may_look_into_host(&self) -> bool {
        self.role() != Role::User
    }

    /// Whether this container may be changed.
    pub fn may_change_container(&self, container: &Container) -> bool {
        self.may_change(&container.owner)
    }

    /// The same of a container, whoever made it: another engine's is nobody's, as the host is.
    pub fn may_change_any(&self, container: &AnyContainer) -> bool {
        match container {
            AnyContainer::Own(own) => self.may_change_container(own),
            AnyContainer::Foreign(_) => self.is_admin(),
        }
    }

    /// Whether what happens inside this container may be seen.
    pub fn may_look_into_container(&self, container: &AnyContainer) -> bool {
        match container {
            AnyContainer::Own(own) => self.may_look_into(&own.owner),
            // What runs in somebody's container is theirs to see.
            AnyContainer::Foreign(foreign) => match &foreign.host_owner {
                Some(owner) => self.may_look_into(owner),
                None => self.may_look_into_host(),
            },
        }
    }

    /// Whether this session may be typed into, resized, ended.
    pub fn may_change_session(&self, session: &Session) -> bool {
        self.may_change(&session.owner)
    }
}

/// What the authentication layer puts into every request.
#[derive(Debug, Clone)]
pub(crate) struct Authenticated(pub(crate) Option<Arc<Identity>>);

impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        signed_in(parts).ok_or_else(Refusal::not_signed_in)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Identity {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(signed_in(parts))
    }
}

fn signed_in(parts: &Parts) -> Option<Identity> {
    let Authenticated(identity) = parts.extensions.get()?;
    identity.as_deref().cloned()
}
