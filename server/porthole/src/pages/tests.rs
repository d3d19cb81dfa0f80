//! Pages as a browser asks for them, over the whole router, without a keeper.

use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use tower::ServiceExt as _;

use super::view::sample;
use crate::AppState;
use crate::access::gate::Peer;
use crate::server::{router, test_state};

async fn answer(state: &AppState, peer: Peer, request: Request<Body>) -> Response {
    let mut request = request;
    request.extensions_mut().insert(peer);
    let (router, _) = router::router(state);
    router.oneshot(request).await.expect("an answer")
}

async fn text(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("a body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}

fn post(path: &str, form: &str) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()))
        .expect("a request")
}

const ROOT: Peer = Peer::Local { uid: 0 };

fn stranger() -> Peer {
    Peer::Network(SocketAddr::from(([127, 0, 0, 1], 50_000)))
}

fn from_network(path: &str) -> Request<Body> {
    let mut request = get(path);
    let host = "127.0.0.1:7678".parse().expect("a host");
    request.headers_mut().insert(header::HOST, host);
    request
}

#[tokio::test]
async fn every_page_is_there() {
    let (_directory, state, _asks) = test_state();
    sample::fill(&state.world);
    for (path, heading) in [
        ("/containers?q=web&state=running&sort=-name", "Containers"),
        ("/containers/new", "New container"),
        ("/containers/web", "web: overview"),
        ("/containers/web/processes", "web: processes"),
        ("/containers/web/namespaces", "web: namespaces"),
        ("/containers/web/terminal?session=a5", "web: terminal"),
        ("/containers/web/logs", "web: logs"),
        ("/containers/web/inspect", "web: inspect"),
        ("/processes?q=5709%2F72&view=tree", "Processes"),
        ("/processes/7561", "nginx 7561"),
        ("/compare?a=web&of=7561", "Compare"),
        ("/sessions", "Sessions"),
        ("/settings", "Settings"),
        ("/setup", "First start"),
    ] {
        let response = answer(&state, ROOT, get(path)).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let page = text(response).await;
        let title = format!("<title>{heading} · Porthole</title>");
        assert!(page.contains(&title), "{path}: {page}");
    }
    let moved = answer(
        &state,
        ROOT,
        get("/sessions/a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5"),
    )
    .await;
    assert_eq!(
        moved.headers()[header::LOCATION],
        "/containers/web/terminal?session=a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5"
    );
}

#[tokio::test]
async fn files_that_pages_name_are_there() {
    let (_directory, state, _asks) = test_state();
    sample::fill(&state.world);
    let page = text(answer(&state, ROOT, get("/containers/web/terminal")).await).await;
    let names: Vec<_> = page
        .split('"')
        .filter(|text| text.starts_with("/assets/"))
        .collect();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let response = answer(&state, ROOT, get(name)).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn nothing_that_was_typed_is_lost() {
    let (_directory, state, _asks) = test_state();
    sample::fill(&state.world);
    let form = "image=host&name=..%2Fx&command=echo+%22a+b%22&env=A%3D1&memory=9g&init=on";
    let response = answer(&state, ROOT, post("/containers/new", form)).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = text(response).await;
    for kept in [
        "value=\"../x\"",
        "echo &#34;a b&#34;",
        ">A=1</textarea>",
        "value=\"9g\"",
    ] {
        assert!(page.contains(kept), "{kept} in {page}");
    }
    assert!(page.contains("A name begins with a letter or digit"));
}

#[tokio::test]
async fn what_the_keeper_refuses_is_said_where_one_looks() {
    let (_directory, state, _asks) = test_state();
    sample::fill(&state.world);
    let path = format!("/containers/{}/kill", sample::id(9));
    let plain = answer(&state, ROOT, post(&path, "")).await;
    assert_eq!(plain.status(), StatusCode::NOT_FOUND);
    assert!(text(plain).await.starts_with("<!doctype html>"));
    let mut request = post(&path, "");
    let yes = "true".parse().expect("a value");
    request.headers_mut().insert("hx-request", yes);
    let notice = answer(&state, ROOT, request).await;
    assert_eq!(notice.status(), StatusCode::NOT_FOUND);
    assert_eq!(notice.headers()["hx-retarget"], "#toasts");
    assert!(text(notice).await.starts_with("<div class=\"notice bad\">"));
}

#[tokio::test]
async fn who_is_not_signed_in_is_sent_to_where_one_does() {
    let (_directory, state, _asks) = test_state();
    let first = answer(&state, stranger(), from_network("/containers")).await;
    assert_eq!(first.headers()[header::LOCATION], "/setup");
    let name = "admin".parse().expect("a name");
    let password = "a password".to_owned();
    let new = crate::store::NewAccount {
        name,
        role: crate::access::Role::Admin,
        password,
    };
    let made = state
        .store
        .create_first_account(new, crate::store::Actor::server());
    made.await.expect("made");
    let later = answer(&state, stranger(), from_network("/containers?q=a")).await;
    assert_eq!(
        later.headers()[header::LOCATION],
        "/login?next=%2Fcontainers%3Fq%3Da"
    );
    let mut request = from_network("/containers");
    let yes = "true".parse().expect("a value");
    request.headers_mut().insert("hx-request", yes);
    let htmx = answer(&state, stranger(), request).await;
    assert!(htmx.headers().contains_key("hx-redirect"));
    let done = answer(&state, stranger(), from_network("/setup")).await;
    assert!(text(done).await.contains("This has been done"));
}
