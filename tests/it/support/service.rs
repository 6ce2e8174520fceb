//! The real binary: started, waited for, asked over HTTP, signalled, and never left behind.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_stepwise");
/// Nothing that a test waits for takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// No test depends on what the account has downloaded, nor on the Hub.
const NO_HUB: &str = "/nonexistent/huggingface";
/// Variables of others that the binary reads.
const FOREIGN: [&str; 5] = ["DATABASE_URL", "HF_ENDPOINT", "HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE"];

/// The binary, with no setting from outside.
pub fn program() -> Command {
    let mut command = Command::new(BINARY);
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if name.starts_with("STEPWISE_") || FOREIGN.contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command.env("HF_HOME", NO_HUB);
    command
}

/// A process that dies with its owner.
pub struct Process(Child);

impl Process {
    /// Starts the binary with these arguments; its log goes to `log`.
    pub fn start(arguments: &[&str], variables: &[(&str, &str)], log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        let mut command = program();
        command.args(arguments).env("HF_HUB_OFFLINE", "1").envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self(command.spawn().unwrap())
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The most memory that it has ever had, in bytes, by the kernel's own count.
    pub fn peak_memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        let id = i32::try_from(self.0.id()).unwrap();
        // SAFETY: the process is our child and has not been waited for, so the id is its own.
        assert_eq!(unsafe { libc::kill(id, signal) }, 0, "the process is gone already");
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits for the process to end; whether it said success.
    pub fn wait(&mut self) -> bool {
        self.0.wait().unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs the binary to its end, without a database or settings from outside.
pub fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let output = program().args(arguments).envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// An address that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A client of a running service.
pub struct Client {
    base: String,
    http: reqwest::Client,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        stepwise::outbound::install_tls();
        Self { base: format!("http://{address}"), http: reqwest::Client::new() }
    }

    /// The address, up to the paths.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub async fn get(&self, path: &str) -> Value {
        let reply = self.http.get(format!("{}{path}", self.base)).send().await.unwrap();
        assert!(reply.status().is_success(), "{path}: {} {}", reply.status(), reply.text().await.unwrap());
        reply.json().await.unwrap()
    }

    /// The lines of a file, or of a list that is asked for as lines.
    pub async fn lines(&self, path: &str) -> Vec<Value> {
        let request = self.http.get(format!("{}{path}", self.base)).header("accept", "application/jsonl");
        let text = request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A body as it is.
    pub async fn text(&self, path: &str) -> String {
        let reply = self.http.get(format!("{}{path}", self.base)).send().await.unwrap();
        assert!(reply.status().is_success(), "{path}: {} {}", reply.status(), reply.text().await.unwrap());
        reply.text().await.unwrap()
    }

    pub async fn status(&self, path: &str) -> Option<u16> {
        self.http.get(format!("{}{path}", self.base)).send().await.ok().map(|reply| reply.status().as_u16())
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let reply = self.http.post(format!("{}{path}", self.base)).json(body).send().await.unwrap();
        assert!(reply.status().is_success(), "{path}: {} {}", reply.status(), reply.text().await.unwrap());
        reply.json().await.unwrap()
    }

    /// Uploads a file and returns its id.
    pub async fn upload(&self, path: &Path) -> String {
        let (boundary, name) = ("stepwise-test-boundary", path.file_name().unwrap().to_string_lossy());
        let content = fs::read_to_string(path).unwrap();
        let body = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n{content}\r\n\
             --{boundary}--\r\n"
        );
        let request = self.http.post(format!("{}/v1/files", self.base)).body(body);
        let request = request.header("content-type", format!("multipart/form-data; boundary={boundary}"));
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status().as_u16(), 201, "{}", reply.text().await.unwrap());
        reply.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// Waits until the service is ready.
    pub async fn until_ready(&self) {
        until("the service is ready", async || (self.status("/readyz").await == Some(200)).then_some(())).await;
    }

    /// Waits until a job satisfies the condition, and returns it.
    pub async fn until_job(&self, id: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{id}: {what}"), async || {
            let job = self.get(&format!("/v1/jobs/{id}")).await;
            condition(&job).then_some(job)
        })
        .await
    }

    /// Waits until a job has ended, and returns it.
    pub async fn until_ended(&self, id: &str) -> Value {
        self.until_job(id, "ends", |job| job["terminal"] == true).await
    }
}

/// Asks again and again until there is an answer; the pause only spares the processor.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited too long for: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Command lines of all running processes that mention a text.
pub fn processes_mentioning(text: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}

/// The generated data of the demo's task in `folder`.
pub fn returns_desk(folder: &Path) -> PathBuf {
    let generator = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/returns_desk/generate.py");
    let done = Command::new("python3").arg("-B").arg(generator).arg(folder).status().unwrap();
    assert!(done.success(), "the generator failed");
    folder.to_owned()
}

/// The first lines of a file, as a new file beside it.
pub fn head(path: &Path, lines: usize) -> PathBuf {
    let text = fs::read_to_string(path).unwrap();
    let short = path.with_extension(format!("{lines}.jsonl"));
    let lines: String = text.lines().take(lines).map(|line| format!("{line}\n")).collect();
    fs::write(&short, lines).unwrap();
    short
}
