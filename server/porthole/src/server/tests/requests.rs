//! Requests that are not what they should be: origins, tokens, names, bounds.

use super::*;

#[tokio::test]
async fn a_change_by_cookie_needs_its_own_origin() {
    let scene = Scene::new().await;
    let path = format!("/api/v1/containers/{}/start", scene.container);
    for (origin, status) in [
        // The control: nobody does it, but it is let through.
        (Some(ORIGIN), 503),
        (None, 403),
        (Some("null"), 403),
        (Some("http://evil.example"), 403),
        (Some("https://127.0.0.1:7678"), 403),
        (Some("http://127.0.0.1:1"), 403),
    ] {
        let mut request = scene.request(&Method::POST, &path, Who::Owner);
        request.headers_mut().remove(header::ORIGIN);
        if let Some(origin) = origin {
            let value = origin.parse().expect("a value");
            request.headers_mut().insert(header::ORIGIN, value);
        }
        let answer = scene.send(request).await;
        assert_eq!(answer.status().as_u16(), status, "{origin:?}");
    }
}

#[tokio::test]
async fn every_change_by_cookie_needs_its_own_origin() {
    let scene = Scene::new().await;
    let changing = scene
        .table
        .iter()
        .filter(|route| route.method != Method::GET);
    let mut count = 0;
    for route in changing {
        let path = scene.filled(&route.path);
        for origin in [Some("http://evil.example"), None] {
            let mut request = scene.request(&route.method, &path, Who::Admin);
            request.headers_mut().remove(header::ORIGIN);
            if let Some(origin) = origin {
                let value = header::HeaderValue::from_static(origin);
                request.headers_mut().insert(header::ORIGIN, value);
            }
            let status = scene.send(request).await.status();
            assert_eq!(status, 403, "{} {path} from {origin:?}", route.method);
        }
        count += 1;
    }
    assert!(count > 15, "{count} routes change something");
}

#[tokio::test]
async fn a_token_needs_no_origin_but_none_of_anothers() {
    let scene = Scene::new().await;
    let account = scene
        .state
        .store
        .account("owner")
        .expect("read")
        .expect("there")
        .account;
    let secret = Secret::new();
    let new = crate::store::NewToken {
        account: account.id,
        name: "robot".into(),
        hash: secret.hash(),
        life: None,
    };
    let added = scene
        .state
        .store
        .add_token(new, crate::store::Actor::server());
    let token = added.await.expect("made");
    let path = format!("/api/v1/containers/{}/start", scene.container);
    let send = |authorization: String, origin: Option<&'static str>, who| {
        let mut request = scene.request(&Method::POST, &path, who);
        request.headers_mut().remove(header::ORIGIN);
        if let Some(origin) = origin {
            let value = header::HeaderValue::from_static(origin);
            request.headers_mut().insert(header::ORIGIN, value);
        }
        let value = authorization.parse().expect("a value");
        request.headers_mut().insert(header::AUTHORIZATION, value);
        async { scene.send(request).await.status().as_u16() }
    };
    let bearer = format!("Bearer {}", secret.reveal());
    assert_eq!(
        send(bearer.clone(), None, Who::Nobody).await,
        503,
        "let through"
    );
    assert_eq!(send(bearer.clone(), Some(ORIGIN), Who::Nobody).await, 503);
    let evil = Some("http://evil.example");
    assert_eq!(send(bearer.clone(), evil, Who::Nobody).await, 403);
    assert_eq!(send("Bearer nonsense".into(), None, Who::Nobody).await, 401);
    // A wrong token is not made good by a cookie; what is no token does not stand in its way.
    assert_eq!(
        send("Bearer nonsense".into(), Some(ORIGIN), Who::Owner).await,
        401
    );
    assert_eq!(
        send("Basic eDp5".into(), Some(ORIGIN), Who::Owner).await,
        503
    );
    let by = crate::store::Actor::server();
    let gone = scene.state.store.delete_token(account.id, token.id, by);
    assert!(gone.await.expect("written"));
    assert_eq!(send(bearer, None, Who::Nobody).await, 401, "taken back");
}

#[tokio::test]
async fn names_that_are_not_ours_are_not_answered_to() {
    let scene = Scene::new().await;
    for (host, status) in [
        ("localhost:9999", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
    ] {
        let mut request = scene.request(&Method::GET, "/healthz", Who::Nobody);
        let value = host.parse().expect("a value");
        request.headers_mut().insert(header::HOST, value);
        let answer = scene.send(request).await;
        assert_eq!(answer.status().as_u16(), status, "{host}");
    }
}

#[tokio::test]
async fn every_answer_carries_its_headers() {
    let scene = Scene::new().await;
    for path in [
        "/healthz",
        "/login",
        "/api/v1/containers",
        "/nowhere",
        "/api/v1/nowhere",
    ] {
        let answer = scene
            .send(scene.request(&Method::GET, path, Who::Nobody))
            .await;
        let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok());
        let policy = header("content-security-policy").expect(path);
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(header("referrer-policy"), Some("same-origin"), "{path}");
        assert!(header("x-request-id").is_some(), "{path}");
    }
}

#[tokio::test]
async fn too_much_and_the_wrong_kind_are_refused() {
    let scene = Scene::new().await;
    let post = |body: String, kind: &'static str| {
        let mut request = scene.request(&Method::POST, "/api/v1/containers", Who::Owner);
        *request.body_mut() = Body::from(body);
        let value = header::HeaderValue::from_static(kind);
        request.headers_mut().insert(header::CONTENT_TYPE, value);
        scene.send(request)
    };
    let spec = r#"{"image":"busybox"}"#.to_owned();
    assert_eq!(
        post(spec.clone(), "application/json").await.status(),
        503,
        "the control"
    );
    assert_eq!(post(spec, "text/plain").await.status(), 415);
    let long = format!(r#"{{"image":"busybox","name":"{}"}}"#, "x".repeat(300_000));
    assert_eq!(post(long, "application/json").await.status(), 413);
    let method = scene
        .status(&Method::PATCH, "/api/v1/containers", Who::Owner)
        .await;
    assert_eq!(method, 405);
}
