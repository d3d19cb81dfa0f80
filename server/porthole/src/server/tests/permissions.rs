//! Whom each route lets in, and what they get to see.

use std::collections::BTreeSet;

use super::*;

/// Whom a permission lets through to the owner's things.
const fn allows(permission: Permission, who: Who) -> bool {
    match permission {
        Permission::Public => true,
        Permission::SignedIn
        | Permission::See
        | Permission::SeeContainer
        | Permission::SeeSession => !matches!(who, Who::Nobody),
        Permission::Create => matches!(who, Who::Other | Who::Owner | Who::Admin),
        Permission::LookIntoContainer | Permission::LookIntoSession => {
            matches!(who, Who::Viewer | Who::Owner | Who::Admin)
        }
        Permission::ChangeContainer | Permission::ChangeSession => {
            matches!(who, Who::Owner | Who::Admin)
        }
        Permission::Administer => matches!(who, Who::Admin),
    }
}

#[tokio::test]
async fn every_route_lets_in_whom_its_permission_names_and_nobody_else() {
    let scene = Scene::new().await;
    assert!(scene.table.len() > 40, "the table holds the routes");
    let mut wrong = Vec::new();
    for route in &scene.table {
        // Signing out in between would make the rest meaningless, and waiting waits.
        if route.path.ends_with("/logout") || route.path.ends_with("/wait") {
            continue;
        }
        let path = scene.filled(&route.path);
        assert!(!path.contains('{'), "{path}: a parameter without a value");
        for who in EVERYBODY {
            let status = scene.status(&route.method, &path, who).await;
            let refused = match (who, route.face) {
                // People are sent to where one signs in.
                (Who::Nobody, Face::Page) => [302, 303, 307].contains(&status),
                (Who::Nobody, _) => status == 401,
                _ => status == 403,
            };
            // A sign-in page may send who is signed in elsewhere; that is no refusal.
            let public = route.permission == Permission::Public;
            if !public && refused == allows(route.permission, who)
                || public
                    && [401, 403].contains(&status)
                    && !path.contains("setup")
                    && !path.contains("login")
            {
                wrong.push(format!("{} {path} as {who:?}: {status}", route.method));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn permissions_are_what_they_are_meant_to_be() {
    let scene = Scene::new().await;
    use Permission::{
        Administer, ChangeContainer, ChangeSession, Create, LookIntoContainer, LookIntoSession,
        Public, See, SeeContainer, SeeSession, SignedIn,
    };
    // What is public is written down a second time: a route becomes public by two edits only.
    let public: BTreeSet<_> = scene
        .table
        .iter()
        .filter(|route| route.permission == Public)
        .map(|route| (route.method.as_str(), route.path.as_str()))
        .collect();
    let meant = [
        ("GET", "/"),
        ("GET", "/api/v1/setup"),
        ("GET", "/assets/{version}/{*name}"),
        ("GET", "/favicon.ico"),
        ("GET", "/healthz"),
        ("GET", "/login"),
        ("GET", "/readyz"),
        ("GET", "/setup"),
        ("POST", "/api/v1/login"),
        ("POST", "/api/v1/setup"),
        ("POST", "/login"),
        ("POST", "/setup"),
    ];
    assert_eq!(public, BTreeSet::from(meant));
    for route in &scene.table {
        let Declared {
            method,
            path,
            permission,
            ..
        } = route;
        let on_container = path.contains("{container}");
        let on_session = path.contains("{session}");
        assert_eq!(
            on_container,
            matches!(
                permission,
                SeeContainer | LookIntoContainer | ChangeContainer
            ),
            "{method} {path}: the container of the path is what the permission is about"
        );
        assert_eq!(
            on_session,
            matches!(permission, SeeSession | LookIntoSession | ChangeSession),
            "{method} {path}: the session of the path is what the permission is about"
        );
        let harmless = path.ends_with("/wait") || path.ends_with("/preview");
        if *method != Method::GET && !harmless {
            assert!(
                matches!(
                    permission,
                    Public | SignedIn | Create | ChangeContainer | ChangeSession | Administer
                ),
                "{method} {path} changes something by {permission:?}"
            );
        }
        if *permission == See {
            assert_eq!(*method, Method::GET, "{path}");
        }
    }
}

#[tokio::test]
async fn what_happens_inside_is_hidden_from_other_users() {
    let scene = Scene::new().await;
    let paths = [
        "/api/v1/containers".to_owned(),
        "/api/v1/sessions".to_owned(),
        format!("/api/v1/containers/{}", scene.container),
        format!("/api/v1/sessions/{}", scene.session),
    ];
    for path in paths {
        for (who, sees) in [
            (Who::Other, false),
            (Who::Viewer, true),
            (Who::Owner, true),
            (Who::Admin, true),
        ] {
            let response = scene.send(scene.request(&Method::GET, &path, who)).await;
            assert_eq!(response.status(), StatusCode::OK);
            let text = json_of(response).await.to_string();
            assert_eq!(text.contains("secret"), sees, "{path} as {who:?}: {text}");
        }
    }
}

#[tokio::test]
async fn command_lines_are_hidden_from_who_may_not_look() {
    use porthole_protocol::observation::Update;
    let scene = Scene::new().await;
    let process = |pid: i32, container: Option<ContainerId>| {
        let mut process = crate::pages::view::sample::process(pid, 0, &[pid], "named");
        process.args = vec!["named".into(), "secret".into()];
        process.container = container;
        process
    };
    scene.state.world.observe(Update {
        full: true,
        processes: vec![
            process(41, None),
            process(42, Some(scene.container.clone())),
        ],
        ..Update::default()
    });
    // Of the owner's container the owner sees everything, of the host nothing.
    for (pid, who, sees) in [
        (41, Who::Other, false),
        (41, Who::Owner, false),
        (41, Who::Viewer, true),
        (41, Who::Admin, true),
        (42, Who::Other, false),
        (42, Who::Owner, true),
        (42, Who::Viewer, true),
        (42, Who::Admin, true),
    ] {
        for path in [
            format!("/processes/{pid}"),
            format!("/processes?q={pid}"),
            format!("/processes?q={pid}&view=tree"),
            format!("/api/v1/processes?pid={pid}"),
            format!("/api/v1/processes/{pid}"),
        ] {
            let answer = scene.send(scene.request(&Method::GET, &path, who)).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path} as {who:?}");
            let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await;
            let text = String::from_utf8(bytes.expect("a body").into()).expect("text");
            assert_eq!(text.contains("secret"), sees, "{path} as {who:?}");
            assert!(
                text.contains("named"),
                "its name is no secret: {path} as {who:?}"
            );
        }
        // What is read inside is refused where the command line is.
        let detail = format!("/processes/{pid}/detail");
        let status = scene.status(&Method::GET, &detail, who).await;
        assert_eq!(status == 403, !sees, "{detail} as {who:?}: {status}");
        // Nor can it be searched for.
        let path = "/processes?q=secret";
        let answer = scene.send(scene.request(&Method::GET, path, who)).await;
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await;
        let text = String::from_utf8(bytes.expect("a body").into()).expect("text");
        assert_eq!(
            text.contains(&format!("/processes/{pid}\"")),
            sees,
            "{path} as {who:?}"
        );
    }
}
