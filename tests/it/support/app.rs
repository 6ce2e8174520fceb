//! The API on a real socket, with a database and folders of its own. Every response that comes through it is held to
//! the OpenAPI document.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};
use stepwise::{
    api::{Access, AppState, Drain, Rooms, serve, warm_up_once},
    artifacts::Artifacts,
    catalogue::{self, Place},
    clock::Clock,
    domain::{LabelSet, ServingPrecision, TaskDefinition, TeacherApi, TeacherTerms},
    hub::{Hub, HubSettings},
    inference::{Engine, EngineSettings},
    registry::Registry,
    shutdown::Shutdown,
    store::Store,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{
    cable::Cable,
    contract::{Contract, Seen},
    database::TestDatabase,
};

/// Uploads larger than this are refused in tests.
pub const MAX_UPLOAD_BYTES: u64 = 4 << 20;
/// No load balancer waits for news.
pub const DRAIN: Drain = Drain { notice: Duration::ZERO, limit: Duration::from_secs(30) };
/// As long as by default.
pub const MAX_UNREAD: Duration = Duration::from_secs(60);
const BOUNDARY: &str = "the-boundary";

/// A running API.
pub struct TestApp {
    pub store: Store,
    pub models_dir: PathBuf,
    pub artifacts_dir: PathBuf,
    pub shutdown: Shutdown,
    pub state: AppState,
    pub rooms: Rooms,
    pub address: std::net::SocketAddr,
    client: Client,
    pub contract: Contract,
    _folder: TempDir,
    database: TestDatabase,
}

/// A response that the document allows.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body as JSON; null where it is none.
    pub body: Value,
    pub bytes: Vec<u8>,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with_hub(offline_hub).await
    }

    /// The API with this Hub, whose cache is an empty folder.
    pub async fn start_with_hub(hub: impl FnOnce(&Path) -> Hub) -> Self {
        let database = TestDatabase::new().await;
        let store = database.store.clone();
        Self::on(database, store, hub, usual_engine()).await
    }

    /// The API with an engine that is set up otherwise.
    pub async fn start_with_engine(settings: EngineSettings) -> Self {
        let database = TestDatabase::new().await;
        let store = database.store.clone();
        Self::on(database, store, offline_hub, settings).await
    }

    /// The API on a database whose cable can be cut.
    pub async fn start_on_cable() -> (Self, Cable) {
        let database = TestDatabase::new().await;
        let (cable, url) = Cable::lay(&database.url).await;
        let store = Store::connect_lazy(&url, 10).unwrap();
        (Self::on(database, store, offline_hub, usual_engine()).await, cable)
    }

    async fn on(database: TestDatabase, store: Store, hub: impl FnOnce(&Path) -> Hub, engine: EngineSettings) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = tempfile::tempdir().unwrap();
        let (artifacts_dir, models_dir) = (folder.path().join("artifacts"), folder.path().join("models"));
        let artifacts = Artifacts::local(&artifacts_dir).unwrap();
        let shutdown = Shutdown::new();
        let (cache, hub) = (folder.path().join("cache"), hub(&folder.path().join("hub")));
        let rooms = Rooms {
            registry: Registry::new(store.clone(), artifacts.clone(), models_dir.clone(), cache, hub),
            store: store.clone(),
            artifacts,
            engine: Engine::start(engine).unwrap(),
            pinned: Vec::new(),
            teachers: teachers(),
            tasks: vec![returns_desk()],
            scratch: folder.path().join("scratch"),
            max_upload_bytes: MAX_UPLOAD_BYTES,
            clock: Clock::system(),
            access: Access::KeysOnceMade,
            shutdown: shutdown.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = AppState::new(rooms.clone());
        warm_up_once(&state).await.unwrap();
        tokio::spawn(serve(listener, state.clone(), MAX_UNREAD, DRAIN));
        let client = Client::builder().no_proxy().build().unwrap();
        let contract = Contract::new();
        Self {
            store,
            models_dir,
            artifacts_dir,
            shutdown,
            state,
            rooms,
            address,
            client,
            contract,
            _folder: folder,
            database,
        }
    }

    /// The database's address, for child processes.
    pub fn database_url(&self) -> &str {
        &self.database.url
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, |request| request).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path, |request| request).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.request(Method::POST, path, |request| request.json(&body)).await
    }

    /// A request that is not quite like the others.
    pub async fn request(&self, method: Method, path: &str, more: impl Fn(RequestBuilder) -> RequestBuilder) -> Answer {
        let request = self.client.request(method.clone(), format!("http://{}{path}", self.address));
        let response = more(request).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap().to_vec();
        assert!(headers.contains_key("x-request-id"), "{method} {path}: no x-request-id");
        let content_type = headers.get("content-type").map(|value| value.to_str().unwrap());
        self.contract.check(&Seen { method: method.as_str(), path, status, content_type, body: &bytes });
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        catalogued(status, &body);
        Answer { status, headers, body, bytes }
    }

    /// Uploads a file for training.
    pub async fn upload(&self, content: impl AsRef<[u8]>) -> Answer {
        self.send_form(&[("purpose", None, b"fine-tune"), ("file", Some("rows.jsonl"), content.as_ref())]).await
    }

    /// Uploads a good file and gives its id.
    pub async fn file(&self, rows: &[Value]) -> String {
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let answer = self.upload(lines).await;
        assert_eq!((answer.status, &answer.body["status"]), (201, &json!("processed")), "{:#}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    /// Sends a form: each field's name, filename and content.
    pub async fn send_form(&self, fields: &[(&str, Option<&str>, &[u8])]) -> Answer {
        let body = form(fields);
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        self.request(Method::POST, "/v1/files", |request| {
            request.header("content-type", content_type.as_str()).body(body.clone())
        })
        .await
    }

    /// The database, for what the store does not offer.
    pub fn pool(&self) -> &sqlx::PgPool {
        &self.database.pool
    }

    /// Every file of the artifact store.
    pub fn artifact_files(&self) -> Vec<PathBuf> {
        files_below(&self.artifacts_dir)
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Answer {
    /// The code of an error.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {:#}", self.body))
    }

    /// The sentence of an error.
    pub fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_else(|| panic!("no error: {:#}", self.body))
    }

    /// Asserts an error by status, code and the pointer of its first field.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str, pointer: &str) -> &str {
        let found = (self.status, self.code(), self.body["errors"][0]["pointer"].as_str().unwrap_or_default());
        assert_eq!(found, (status, code, pointer), "{:#}", self.body);
        self.detail()
    }

    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id: {:#}", self.body)).to_owned()
    }
}

/// A Hub of which nothing is here and nothing may be asked.
fn offline_hub(cache: &Path) -> Hub {
    let settings = HubSettings::new("http://127.0.0.1:9", cache.to_owned()).unwrap();
    Hub::new(HubSettings { offline: true, ..settings }, Clock::system())
}

/// How the API's engine is set up where a test does not care.
pub fn usual_engine() -> EngineSettings {
    EngineSettings { max_waiting: 64, max_batch: 8, max_models: 2, ..EngineSettings::on_cpu(1, ServingPrecision::Fp32) }
}

/// Every code of an answer stands in the catalogue of errors.
fn catalogued(status: u16, body: &Value) {
    let check = |place: Place, error: &Value| {
        let Some(code) = error["code"].as_str() else { return };
        assert!(catalogue::knows(place, code), "{place:?} {code} is not in src/catalogue/entries.rs: {body:#}");
    };
    let each = |list: &Value, place: Place| list.as_array().into_iter().flatten().for_each(|error| check(place, error));
    match body["object"].as_str() {
        Some("job" | "fine_tuning.job") => check(Place::Job, &body["error"]),
        Some("file") => each(&body["validation"]["errors"], Place::Line),
        Some("list") => {
            body["data"].as_array().into_iter().flatten().for_each(|item| check(Place::Item, &item["error"]))
        }
        // The Open Inference Protocol's errors have no code.
        _ if status >= 400 && !body["error"].is_string() => {
            check(Place::Request(status), &body["error"]);
            each(&body["errors"], Place::Request(status));
        }
        _ => {}
    }
}

/// One that costs nothing, and one that does.
fn teachers() -> Vec<TeacherTerms> {
    let free = TeacherTerms { name: "scripted".to_owned(), max_concurrency: 4, ..TeacherTerms::default() };
    let large = TeacherTerms {
        name: "large".to_owned(),
        requests_per_minute: Some(60),
        usd_per_million_input_tokens: 2.0,
        usd_per_million_output_tokens: 10.0,
        ..free.clone()
    };
    let base = TeacherTerms { name: "base".to_owned(), api: TeacherApi::Completions, ..free.clone() };
    vec![free, large, base]
}

fn returns_desk() -> TaskDefinition {
    let labels = ["refund", "exchange", "reject"].map(str::to_owned).to_vec();
    TaskDefinition { name: "returns".to_owned(), label_set: LabelSet::Fixed(labels), ..TaskDefinition::default() }
}

fn form(fields: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, filename, content) in fields {
        let filename = filename.map(|filename| format!("; filename=\"{filename}\"")).unwrap_or_default();
        let head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{filename}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() { found.extend(files_below(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}
