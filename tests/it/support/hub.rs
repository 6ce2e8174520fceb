//! The Hub's routes over models in memory, and beside it the host that keeps its large files, which wants no token. Both
//! remember what they were asked, and answer otherwise where a test says so.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use sha2::{Digest, Sha256};
use stepwise::{
    clock::Clock,
    domain::{HubCommit, HubId, Secret},
    hub::{Hub, HubSettings},
};
use tokio::net::TcpListener;

/// The one token that the Hub takes.
pub const TOKEN: &str = "hf_canary";

/// A Hub and its storage.
#[derive(Clone)]
pub struct HubServer {
    pub endpoint: String,
    memory: Arc<Memory>,
}

struct Memory {
    storage: String,
    models: Mutex<BTreeMap<String, Model>>,
    asked: Mutex<Vec<Asked>>,
    instead: Mutex<VecDeque<(String, Instead)>>,
}

#[derive(Default)]
struct Model {
    revisions: BTreeMap<String, String>,
    commits: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    access: Access,
}

/// Who may see a model.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Access {
    #[default]
    Open,
    /// Whoever brings the token; others are told that there is no such model.
    Private,
    /// Nobody yet: its terms are to be accepted first.
    Gated,
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub method: String,
    /// Whether the storage was asked, and not the Hub.
    pub of_storage: bool,
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
}

/// What is answered once instead of the truth.
#[derive(Debug, Clone)]
pub enum Instead {
    /// This status with this header.
    Status(u16, &'static str, &'static str),
    /// So many bytes of what was asked for; then the connection breaks.
    Cut(usize),
    /// So many bytes of what was asked for; then nothing, on a connection that stays open.
    Hold(usize),
    /// Other bytes of the same number.
    Garbled,
    /// The whole file, whatever range was asked for.
    Whole,
}

impl HubServer {
    pub async fn start() -> Self {
        let (hub, storage) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let endpoint = format!("http://{}", hub.local_addr().unwrap());
        let memory = Arc::new(Memory {
            storage: format!("http://{}", storage.local_addr().unwrap()),
            models: Mutex::default(),
            asked: Mutex::default(),
            instead: Mutex::default(),
        });
        let (of_hub, of_storage) = (Router::new().fallback(hub_answer), Router::new().fallback(storage_answer));
        let (of_hub, of_storage) = (of_hub.with_state(memory.clone()), of_storage.with_state(memory.clone()));
        tokio::spawn(async { axum::serve(hub, of_hub).await.unwrap() });
        tokio::spawn(async { axum::serve(storage, of_storage).await.unwrap() });
        Self { endpoint, memory }
    }

    /// Puts a folder's files there as what a branch means now.
    pub fn put(&self, repository: &str, revision: &str, folder: &Path) -> HubCommit {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let file = |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap());
        self.put_files(repository, revision, entries.map(|entry| file(entry.path())).collect())
    }

    /// Puts files there as what a branch means now.
    pub fn put_files(&self, repository: &str, revision: &str, files: BTreeMap<String, Vec<u8>>) -> HubCommit {
        let mut digest = Sha256::new();
        for (name, bytes) in &files {
            digest.update(name);
            digest.update(bytes);
        }
        let commit = hex(&digest.finalize())[..40].to_owned();
        let mut models = self.memory.models.lock().unwrap();
        let model = models.entry(repository.to_owned()).or_default();
        model.revisions.insert(revision.to_owned(), commit.clone());
        model.commits.insert(commit.clone(), files);
        commit.parse().unwrap()
    }

    pub fn restrict(&self, repository: &str, access: Access) {
        self.memory.models.lock().unwrap().get_mut(repository).unwrap().access = access;
    }

    /// The next request whose method and path contain this text is answered otherwise.
    pub fn instead(&self, of: &str, instead: Instead) {
        self.memory.instead.lock().unwrap().push_back((of.to_owned(), instead));
    }

    /// What was asked since this was last called.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.memory.asked.lock().unwrap())
    }

    /// A Hub that asks this server, with its cache in a folder.
    pub fn hub(&self, cache: &Path) -> Hub {
        self.hub_with(cache, |_| {})
    }

    pub fn hub_with(&self, cache: &Path, change: impl FnOnce(&mut HubSettings)) -> Hub {
        let mut settings = HubSettings::new(&self.endpoint, cache.to_owned()).unwrap();
        settings.tries = 3;
        change(&mut settings);
        Hub::new(settings, Clock::system())
    }

    /// The same with the token.
    pub fn hub_with_token(&self, cache: &Path, token: &str) -> Hub {
        self.hub_with(cache, |settings| settings.token = Some(Secret::new(token.to_owned())))
    }
}

/// The folder of a model in a cache.
pub fn folder_of(cache: &Path, id: &HubId) -> PathBuf {
    cache.join(format!("models--{}--{}", id.owner(), id.name()))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the Hub keeps a file in its storage.
fn is_large(name: &str) -> bool {
    [".safetensors", ".bin", ".model"].iter().any(|end| name.ends_with(end))
}

/// The digest by which the Hub calls a file: sha256 for a large one, 40 digits for a small one.
pub fn digest(name: &str, bytes: &[u8]) -> String {
    let digest = hex(&Sha256::digest(bytes));
    if is_large(name) { digest } else { digest[..40].to_owned() }
}

impl Memory {
    /// Remembers a request; what is to be answered instead, if anything.
    fn remember(&self, of_storage: bool, request: &Request) -> Option<Instead> {
        let text =
            |name| request.headers().get(name).map(|value: &header::HeaderValue| value.to_str().unwrap().to_owned());
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let line = format!("{method} {path}");
        let (range, authorization) = (text(header::RANGE), text(header::AUTHORIZATION));
        self.asked.lock().unwrap().push(Asked { method, of_storage, path, range, authorization });
        let mut instead = self.instead.lock().unwrap();
        let at = instead.iter().position(|(of, _)| line.contains(of.as_str()))?;
        instead.remove(at).map(|(_, instead)| instead)
    }
}

async fn hub_answer(State(memory): State<Arc<Memory>>, request: Request) -> Response {
    if let Some(Instead::Status(status, name, value)) = memory.remember(false, &request) {
        return (StatusCode::from_u16(status).unwrap(), [(name, value)]).into_response();
    }
    let decoded = request.uri().path().replace("%2F", "/");
    let parts: Vec<&str> = decoded.trim_start_matches('/').splitn(6, '/').collect();
    match parts[..] {
        ["api", "models", owner, name, "revision", revision] => {
            let (repository, token) = (format!("{owner}/{name}"), request.headers());
            memory.of(&repository, token, |model| model.list(revision))
        }
        ["api", "resolve-cache", owner, name, commit, file] => {
            memory.of(&format!("{owner}/{name}"), request.headers(), |model| model.small(commit, file))
        }
        [owner, name, "resolve", revision, file] => {
            let repository = format!("{owner}/{name}");
            let storage = memory.storage.clone();
            memory.of(&repository, request.headers(), |model| model.resolve(&repository, revision, file, &storage))
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Memory {
    fn of(&self, repository: &str, headers: &HeaderMap, answer: impl FnOnce(&Model) -> Response) -> Response {
        let refused = |status, code: &'static str| (status, [("x-error-code", code)]).into_response();
        let token = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        let is_known = token.as_deref() == Some(&format!("Bearer {TOKEN}"));
        if token.is_some() && !is_known {
            return (StatusCode::UNAUTHORIZED, [("x-error-message", "Invalid credentials in Authorization header")])
                .into_response();
        }
        let models = self.models.lock().unwrap();
        match models.get(repository) {
            Some(model) if model.access == Access::Gated && is_known => refused(StatusCode::FORBIDDEN, "GatedRepo"),
            Some(model) if model.access == Access::Gated => refused(StatusCode::UNAUTHORIZED, "GatedRepo"),
            Some(model) if model.access == Access::Open || is_known => answer(model),
            // Nobody who is unknown learns whether it is there.
            _ if is_known => refused(StatusCode::NOT_FOUND, "RepoNotFound"),
            _ => refused(StatusCode::UNAUTHORIZED, "RepoNotFound"),
        }
    }
}

impl Model {
    fn commit<'a>(&'a self, revision: &'a str) -> Option<(&'a str, &'a BTreeMap<String, Vec<u8>>)> {
        let commit = self.revisions.get(revision).map_or(revision, String::as_str);
        Some((commit, self.commits.get(commit)?))
    }

    fn list(&self, revision: &str) -> Response {
        let Some((commit, files)) = self.commit(revision) else {
            return (StatusCode::NOT_FOUND, [("x-error-code", "RevisionNotFound")]).into_response();
        };
        let siblings: Vec<_> = files.keys().map(|name| json!({"rfilename": name})).collect();
        axum::Json(json!({"id": "x", "sha": commit, "siblings": siblings, "tags": ["t5"]})).into_response()
    }

    fn resolve(&self, repository: &str, revision: &str, file: &str, storage: &str) -> Response {
        let Some((commit, bytes)) = self.commit(revision).and_then(|(commit, files)| Some((commit, files.get(file)?)))
        else {
            return (StatusCode::NOT_FOUND, [("x-error-code", "EntryNotFound")]).into_response();
        };
        let digest = digest(file, bytes);
        let (to, status) = if is_large(file) {
            (format!("{storage}/{digest}?signature=canary"), StatusCode::FOUND)
        } else {
            (format!("/api/resolve-cache/{repository}/{commit}/{file}"), StatusCode::TEMPORARY_REDIRECT)
        };
        let headers = [
            ("location", to),
            ("x-repo-commit", commit.to_owned()),
            ("x-linked-etag", format!("\"{digest}\"")),
            ("x-linked-size", bytes.len().to_string()),
        ];
        (status, headers, "Temporary Redirect").into_response()
    }

    fn small(&self, commit: &str, file: &str) -> Response {
        let bytes = self.commits[commit][file].clone();
        ([(header::ETAG, format!("\"{}\"", digest(file, &bytes)))], bytes).into_response()
    }
}

async fn storage_answer(State(memory): State<Arc<Memory>>, request: Request) -> Response {
    let instead = memory.remember(true, &request);
    if request.headers().contains_key(header::AUTHORIZATION) {
        return (StatusCode::BAD_REQUEST, "Only one auth mechanism allowed").into_response();
    }
    assert_eq!(request.method(), Method::GET, "a HEAD ends at the Hub");
    let digest = request.uri().path().trim_start_matches('/').to_owned();
    let models = memory.models.lock().unwrap();
    let mut files = models.values().flat_map(|model| model.commits.values()).flatten();
    let Some(bytes) =
        files.find(|(name, bytes)| super::hub::digest(name, bytes) == digest).map(|(_, bytes)| bytes.clone())
    else {
        return StatusCode::FORBIDDEN.into_response();
    };
    match instead {
        Some(Instead::Status(status, name, value)) => {
            (StatusCode::from_u16(status).unwrap(), [(name, value)]).into_response()
        }
        Some(Instead::Garbled) => vec![b'x'; bytes.len()].into_response(),
        Some(Instead::Whole) => bytes.into_response(),
        Some(Instead::Cut(at)) => part(&request, bytes, Some((at, End::Break))),
        Some(Instead::Hold(at)) => part(&request, bytes, Some((at, End::Silence))),
        None => part(&request, bytes, None),
    }
}

/// How a response ends that is not whole.
#[derive(Clone, Copy)]
enum End {
    Break,
    Silence,
}

/// The bytes that a request asks for, or as many of them.
fn part(request: &Request, bytes: Vec<u8>, cut: Option<(usize, End)>) -> Response {
    let range = request.headers().get(header::RANGE).map(|range| range.to_str().unwrap());
    let whole = bytes.len();
    let from: usize =
        range.map_or(0, |range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
    if from >= whole {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    let rest = bytes[from..].to_vec();
    let length = rest.len();
    let body = async_stream::stream! {
        match cut {
            None => yield Ok(rest),
            Some((at, end)) => {
                yield Ok(rest[..at].to_vec());
                // What has been said is sent before the connection breaks.
                tokio::task::yield_now().await;
                if matches!(end, End::Silence) {
                    std::future::pending::<()>().await;
                }
                yield Err(std::io::Error::other("the connection breaks"));
            }
        }
    };
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let said = format!("bytes {from}-{}/{whole}", whole - 1);
        response.headers_mut().insert(header::CONTENT_RANGE, said.parse().unwrap());
    }
    response
}
