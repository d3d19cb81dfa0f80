//! The table of routes: each says what it demands before it can be added.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::AppState;
use crate::access::permission::{Guard, Permission, guard};

/// Who reads a route's answers, refusals among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Face {
    /// Programs: refusals are JSON.
    Api,
    /// People: refusals are pages, and nobody signed in is sent to `/login`.
    Page,
    /// A page's WebSocket: refusals are said on it, so that the page can show them. Where nobody
    /// is signed in they are JSON.
    Socket,
}

/// A route as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The method.
    pub method: Method,
    /// The path, with `{container}` and the like for its parameters.
    pub path: String,
    /// What it demands.
    pub permission: Permission,
    /// Who reads it.
    pub face: Face,
}

/// Routes being put together. There is no way to add one without a permission.
///
/// ```ignore
/// pub fn routes(routes: Routes) -> Routes {
///     routes
///         .get("/containers", Permission::See, containers::list)
///         .below("/containers/{container}", |routes| {
///             routes.get("", Permission::SeeContainer, containers::overview)
///         })
/// }
/// ```
pub struct Routes {
    state: AppState,
    face: Face,
    prefix: String,
    gathers: bool,
    router: Router<AppState>,
    table: Vec<Declared>,
}

impl Routes {
    /// No routes yet.
    pub fn new(state: AppState) -> Self {
        Self {
            state,
            face: Face::Api,
            prefix: String::new(),
            gathers: true,
            router: Router::new(),
            table: Vec::new(),
        }
    }

    /// What is added from now on is read by these.
    #[must_use]
    pub fn for_face(mut self, face: Face) -> Self {
        self.face = face;
        self
    }

    /// What is added here lies below this path.
    #[must_use]
    pub fn below(mut self, prefix: &str, add: impl FnOnce(Self) -> Self) -> Self {
        let inner = format!("{}{prefix}", self.prefix);
        let outer = std::mem::replace(&mut self.prefix, inner);
        let mut routes = add(self);
        routes.prefix = outer;
        routes
    }

    /// A route that changes nothing (GET, and HEAD with it).
    #[must_use]
    pub fn get<H, T>(self, path: &str, permission: Permission, handler: H) -> Self
    where
        H: Handler<T, AppState>,
        T: 'static,
    {
        let handler = on(MethodFilter::GET, handler);
        self.add(Method::GET, path, permission, handler)
    }

    /// A route for POST.
    #[must_use]
    pub fn post<H, T>(self, path: &str, permission: Permission, handler: H) -> Self
    where
        H: Handler<T, AppState>,
        T: 'static,
    {
        let handler = on(MethodFilter::POST, handler);
        self.add(Method::POST, path, permission, handler)
    }

    /// A route for PATCH.
    #[must_use]
    pub fn patch<H, T>(self, path: &str, permission: Permission, handler: H) -> Self
    where
        H: Handler<T, AppState>,
        T: 'static,
    {
        let handler = on(MethodFilter::PATCH, handler);
        self.add(Method::PATCH, path, permission, handler)
    }

    /// A route for DELETE.
    #[must_use]
    pub fn delete<H, T>(self, path: &str, permission: Permission, handler: H) -> Self
    where
        H: Handler<T, AppState>,
        T: 'static,
    {
        let handler = on(MethodFilter::DELETE, handler);
        self.add(Method::DELETE, path, permission, handler)
    }

    /// A route for POST whose body is too long to be gathered: its handler reads it, and has to look
    /// itself whether the rights are still there when it is at its end.
    #[must_use]
    pub fn post_stream<H, T>(mut self, path: &str, permission: Permission, handler: H) -> Self
    where
        H: Handler<T, AppState>,
        T: 'static,
    {
        self.gathers = false;
        self = self.post(path, permission, handler);
        self.gathers = true;
        self
    }

    fn add(
        mut self,
        method: Method,
        path: &str,
        permission: Permission,
        handler: MethodRouter<AppState>,
    ) -> Self {
        let path = format!("{}{path}", self.prefix);
        let guarded = handler.route_layer(from_fn_with_state(
            Guard {
                state: self.state.clone(),
                permission,
                face: self.face,
                gathers: self.gathers,
            },
            guard,
        ));
        self.router = self.router.route(&path, guarded);
        self.table.push(Declared {
            method,
            path,
            permission,
            face: self.face,
        });
        self
    }

    /// The router, and the table of what it holds.
    pub fn finish(self) -> (Router<AppState>, Vec<Declared>) {
        (self.router, self.table)
    }
}
