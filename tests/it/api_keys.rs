//! Keys over HTTP: who gets in, to what, for how long, and who is told nothing.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use stepwise::{
    api::{Access, AppState, Rooms, serve},
    clock::Clock,
    domain::{KEY_ENTROPY, KeyText, Scope},
    store::{NewApiKey, Store},
};
use tokio::net::TcpListener;

use crate::support::{
    app::{Answer, DRAIN, MAX_UNREAD, TestApp},
    keys::{ALL, id_of},
    service::until,
};

impl TestApp {
    /// A new key, made as `stepwise keys create` makes it.
    pub async fn key(&self, scopes: &[Scope], lifetime: Option<Duration>) -> String {
        let mut chance = [0; KEY_ENTROPY];
        getrandom::fill(&mut chance).unwrap();
        let key = KeyText::new(&chance);
        let scopes = scopes.iter().copied().collect();
        let new = NewApiKey {
            key: key.clone(),
            project: Store::default_project(),
            name: "a test".to_owned(),
            scopes,
            lifetime,
        };
        self.store.create_api_key(&new).await.unwrap();
        key.reveal()
    }

    /// A request with this in its header `authorization`.
    pub async fn authorized(&self, method: Method, path: &str, header: &str) -> Answer {
        self.request(method, path, |request| request.header("authorization", header)).await
    }

    pub async fn get_with(&self, path: &str, key: &str) -> Answer {
        self.authorized(Method::GET, path, &format!("Bearer {key}")).await
    }
}

/// Method, path with ids of things that are not there, and the scope that the document wants.
fn operations() -> Vec<(Method, String, Option<String>)> {
    let document = serde_json::to_value(stepwise::api::openapi()).unwrap();
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = if path.contains("/files/") { "file" } else { "job" };
            let id = format!("{id}-00000000000000000000000000000000");
            let id = if path.contains("/models/") { "none".to_owned() } else { id };
            let path = path.replace("{id}", &id).replace("{name}", "none").replace("{version}", "1");
            let scope = operation["security"][0]["api_key"][0].as_str().map(str::to_owned);
            found.push((method.to_uppercase().parse().unwrap(), path, scope));
        }
    }
    found
}

/// An answer without what tells one request from another.
fn body_of(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    for name in ["request_id", "instance"] {
        if let Some(members) = body.as_object_mut() {
            members.remove(name);
        }
    }
    body
}

#[test]
fn every_operation_says_its_scope_and_only_probes_and_scrapes_have_none() {
    let open: Vec<_> = operations().into_iter().filter(|(_, _, scope)| scope.is_none()).map(|found| found.1).collect();
    assert_eq!(open, ["/healthz", "/metrics", "/readyz", "/v2/health/live", "/v2/health/ready"]);
    let document = serde_json::to_value(stepwise::api::openapi()).unwrap();
    assert_eq!(document["components"]["securitySchemes"]["api_key"]["scheme"], "bearer");
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let Some(security) = operation.get("security") else { continue };
            let scope = security[0]["api_key"][0].as_str().unwrap();
            assert!(scope.parse::<Scope>().is_ok(), "{method} {path}: {security}");
            for status in ["401", "403", "429", "503"] {
                assert!(operation["responses"][status]["content"].is_object(), "{method} {path}: {status}");
            }
            let harmless = method == "get" && path != "/v1/audit-log";
            assert_eq!(scope == "read", harmless, "{method} {path} needs {scope}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_takes_a_key_with_its_scope_and_no_other() {
    let app = TestApp::start().await;
    let mut keys = BTreeMap::new();
    for scope in Scope::ALL {
        let others: Vec<_> = Scope::ALL.into_iter().filter(|other| *other != scope).collect();
        keys.insert(scope.as_str(), (app.key(&[scope], None).await, app.key(&others, None).await));
    }
    for (method, path, scope) in operations() {
        let bare = app.request(method.clone(), &path, |request| request).await;
        let Some(scope) = scope else {
            assert!(bare.status < 400, "{method} {path}: {}", bare.status);
            continue;
        };
        assert_eq!((bare.status, &bare.headers["www-authenticate"]), (401, &"Bearer".parse().unwrap()), "{path}");
        let (with, without) = &keys[scope.as_str()];
        let refused = app.authorized(method.clone(), &path, &format!("Bearer {without}")).await;
        let words = refused.body.to_string();
        assert!(refused.status == 403 && words.contains(&format!("the scope {scope}")), "{method} {path}: {words}");
        let taken = app.authorized(method.clone(), &path, &format!("bearer {with}")).await;
        assert!(![401, 403, 503].contains(&taken.status), "{method} {path}: {} {}", taken.status, taken.body);
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let head = client.head(format!("http://{}/v2", app.address)).send().await.unwrap();
    assert_eq!(head.status().as_u16(), 401, "a HEAD is a GET");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_key_the_answer_is_the_same() {
    let app = TestApp::start().await;
    let good = app.key(&Scope::ALL, None).await;
    let (revoked, unknown) = (app.key(&Scope::ALL, None).await, KeyText::new(&[7; KEY_ENTROPY]).reveal());
    assert!(app.store.revoke_api_key(&id_of(&revoked).parse().unwrap()).await.unwrap());
    let expired = app.key(&Scope::ALL, Some(Duration::from_micros(1))).await;
    // The secret of one key behind the id of another, with the right checksum.
    let mut chance = [3; KEY_ENTROPY];
    chance[..8].copy_from_slice(&[7; 8]);
    let swapped = KeyText::new(&chance).reveal();
    assert_eq!((id_of(&swapped), swapped == unknown), (id_of(&unknown), false));
    let absent = app.get("/v1/jobs").await;
    let expected = "this needs an API key that is good, as in the header Authorization: Bearer sw_…; `stepwise keys create` makes one";
    absent.refused(401, "invalid_api_key", "");
    assert_eq!(absent.detail(), expected);
    for header in [&revoked, &unknown, &expired, &swapped].map(|key| format!("Bearer {key}")) {
        let answer = app.authorized(Method::GET, "/v1/jobs", &header).await;
        assert_eq!((answer.status, body_of(&answer)), (401, body_of(&absent)), "{header}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    for header in ["", "Bearer", "Basic c3c6c3c=", &good] {
        let answer = app.authorized(Method::GET, "/v1/jobs", header).await;
        assert_eq!((answer.status, body_of(&answer)), (401, body_of(&absent)), "{header:?}");
    }
    let twice = app
        .request(Method::GET, "/v1/jobs", |request| {
            let header = format!("Bearer {good}");
            request.header("authorization", header.as_str()).header("authorization", header.as_str())
        })
        .await;
    assert_eq!(twice.status, 401);
    for broken in [&good[..61], "sk-none", &format!("{good}x")] {
        let answer = app.get_with("/v1/jobs", broken).await;
        assert_eq!((answer.status, answer.code()), (401, "invalid_api_key"));
        assert!(answer.detail().contains("is not whole") && !answer.body.to_string().contains(broken), "{broken}");
    }
    assert_eq!(app.get_with("/v1/jobs", &good).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_everything_is_open_until_the_first_one_is_made_and_never_again() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/v1/jobs").await.status, 200);
    assert_eq!(app.get_with("/v1/jobs", "whatever an SDK sends").await.status, 200);
    let key = app.key(&[Scope::Read], None).await;
    let closed = async || (app.get("/v1/jobs").await.status == 401).then_some(());
    until("the service wants keys", closed).await;
    assert_eq!(app.get_with("/v1/jobs", &key).await.status, 200);
    app.store.revoke_api_key(&id_of(&key).parse().unwrap()).await.unwrap();
    let other = serving(Rooms { access: Access::KeysOnceMade, ..app.rooms.clone() }).await;
    assert_eq!(status(&other, None).await, 401, "revoking the last key opens nothing");
}

/// Another process's API on the same database; the address of its list of jobs.
async fn serving(rooms: Rooms) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, AppState::new(rooms), MAX_UNREAD, DRAIN));
    format!("http://{address}/v1/jobs")
}

async fn status(url: &str, key: Option<&str>) -> u16 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = key.into_iter().fold(client.get(url), |request, key| request.bearer_auth(key));
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_works_for_half_a_minute_at_most() {
    let app = TestApp::start().await;
    let key = app.key(&[Scope::Read], None).await;
    let clock = Clock::manual(Clock::system().now());
    let url = serving(Rooms { clock: clock.clone(), access: Access::Keys, ..app.rooms.clone() }).await;
    assert_eq!(status(&url, Some(&key)).await, 200);
    app.store.revoke_api_key(&id_of(&key).parse().unwrap()).await.unwrap();
    clock.advance(TimeDelta::seconds(29));
    assert_eq!(status(&url, Some(&key)).await, 200, "what was looked up holds for a while");
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(status(&url, Some(&key)).await, 401);
    clock.advance(TimeDelta::seconds(-20));
    assert_eq!(status(&url, Some(&key)).await, 401, "a clock that is put back opens nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_ends_at_its_time_though_it_was_looked_up_just_before() {
    let app = TestApp::start().await;
    let key = app.key(&[Scope::Read], Some(Duration::from_secs(2))).await;
    assert_eq!(app.get_with("/v1/jobs", &key).await.status, 200);
    let begun = std::time::Instant::now();
    until("the key has expired", async || (app.get_with("/v1/jobs", &key).await.status == 401).then_some(())).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "it was taken from memory for {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_limited_and_keys_in_use_are_not_held_up() {
    let app = TestApp::start().await;
    let (used, new) = (app.key(&[Scope::Read], None).await, app.key(&[Scope::Read], None).await);
    assert_eq!(app.get_with("/v1/jobs", &used).await.status, 200);
    let wrong = KeyText::new(&[7; KEY_ENTROPY]).reveal();
    for _ in 0..20 {
        assert_eq!(app.get_with("/v1/jobs", &wrong).await.status, 401);
    }
    let refused = app.get_with("/v1/jobs", &wrong).await;
    assert_eq!((refused.status, refused.code()), (429, "too_many_wrong_keys"));
    let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(app.get_with("/v1/jobs", &new).await.status, 429, "it is not looked up");
    assert_eq!(app.get_with("/v1/jobs", &used).await.status, 200);
    assert_eq!(app.get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_a_key_is_written_down_once_a_minute() {
    let app = TestApp::start().await;
    let key = app.key(&[Scope::Read], None).await;
    let used = async || app.store.list_api_keys().await.unwrap()[0].last_used_at;
    assert_eq!(used().await, None);
    assert_eq!(app.get_with("/v1/jobs", &key).await.status, 200);
    let first = used().await.expect("it was used");
    let other = serving(Rooms { access: Access::Keys, ..app.rooms.clone() }).await;
    assert_eq!((status(&other, Some(&key)).await, used().await), (200, Some(first)), "one note a minute is enough");
    sqlx::query("update api_keys set last_used_at = last_used_at - interval '2 minutes'")
        .execute(app.pool())
        .await
        .unwrap();
    let third = serving(Rooms { access: Access::Keys, ..app.rooms.clone() }).await;
    assert_eq!(status(&third, Some(&key)).await, 200);
    assert!(used().await.unwrap() >= first);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_digest_is_stored() {
    let app = TestApp::start().await;
    let key = app.key(&Scope::ALL, None).await;
    assert_eq!(app.get_with("/v1/jobs", &key).await.status, 200);
    let rows: String = sqlx::query_scalar(
        "select string_agg(k::text, '') || encode(string_agg(digest, ''), 'escape') from api_keys k",
    )
    .fetch_one(app.pool())
    .await
    .unwrap();
    assert!(rows.contains(id_of(&key)) && !rows.contains(&key[12..56]), "{rows}");
    assert_eq!(ALL.split(',').count(), Scope::ALL.len());
    let listed = app.get_with("/v1/audit-log", &key).await;
    assert!(!listed.body.to_string().contains(&key[12..56]) && json!(listed.status) == json!(200));
}
