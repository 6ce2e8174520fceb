//! The README's tour with curl, pasted into a shell as it stands: only addresses, folders and the binary are the test's own.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::service::{BINARY, free_address, processes_mentioning};

const README: &str = include_str!("../../README.md");
const SECTION: &str = "\n## A tour with curl\n";
/// The configuration that the tour uses, as the repository has it.
const CONFIG: &str = "examples/returns_desk/stepwise.toml";
const TEACHER: &str = "127.0.0.1:8089";
/// Stops at the first command that fails, and leaves nothing running however it ends.
const FRAME: &str = "set -euo pipefail\ntrap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT\n";
/// Seconds after which a tour hangs; it takes less than a minute.
const PATIENCE: &str = "480";

/// The section's blocks, one after the other.
fn tour() -> String {
    let (_, section) = README.split_once(SECTION).expect("the README has a tour");
    let section = section.split("\n## ").next().unwrap();
    let blocks: Vec<_> = section.split("\n```").skip(1).step_by(2).collect();
    assert!(blocks.len() > 5, "the tour has blocks: {section}");
    let commands = blocks.iter().map(|block| block.strip_prefix("sh\n").expect("every block of the tour is sh"));
    commands.map(|block| format!("{block}\n")).collect()
}

/// Replaces what must be there.
fn replaced(text: &str, what: &str, by: &str) -> String {
    assert!(text.contains(what), "{what} is not there any more:\n{text}");
    text.replace(what, by)
}

/// What the tour printed.
struct Printed {
    text: String,
    answers: Vec<Value>,
}

impl Printed {
    fn of(text: String) -> Self {
        let answers = text.lines().filter(|line| line.starts_with('{'));
        // The last answer has its status behind it.
        let answers = answers.filter_map(|line| serde_json::Deserializer::from_str(line).into_iter().next()?.ok());
        Self { answers: answers.collect(), text }
    }

    /// The only answers with this value there.
    fn with(&self, pointer: &str, value: &str) -> Vec<&Value> {
        let found: Vec<_> =
            self.answers.iter().filter(|answer| answer.pointer(pointer) == Some(&value.into())).collect();
        assert!(!found.is_empty(), "no answer has {value:?} at {pointer}:\n{}", self.text);
        found
    }

    fn has(&self, line: &str) {
        assert!(self.text.lines().any(|printed| printed == line), "no line is {line:?}:\n{}", self.text);
    }
}

/// Runs the tour in a folder.
fn run(folder: &Path) -> Printed {
    let (listen, teacher) = (free_address().to_string(), free_address().to_string());
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = fs::read_to_string(repository.join(CONFIG)).unwrap();
    fs::write(path("stepwise.toml"), replaced(&config, TEACHER, &teacher)).unwrap();
    let replacements = [
        (CONFIG, path("stepwise.toml")),
        ("http://127.0.0.1:8080", format!("http://{listen}")),
        (TEACHER, teacher),
        ("target/release/stepwise", BINARY.to_owned()),
        ("/tmp/desk", path("desk")),
    ];
    let script = replacements.iter().fold(tour(), |script, (what, by)| replaced(&script, what, by));
    fs::write(path("tour.sh"), format!("{FRAME}{script}")).unwrap();
    // It has a process group of its own, which `timeout` ends.
    let mut shell = Command::new("timeout");
    shell.args(["--kill-after=60", PATIENCE, "bash", &path("tour.sh")]).current_dir(repository);
    shell.env("STEPWISE_LISTEN", &listen).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    shell.stdout(File::create(path("out")).unwrap()).stderr(File::create(path("err")).unwrap());
    let ended = shell.status().unwrap();
    let read = |name: &str| fs::read_to_string(path(name)).unwrap_or_default();
    let (out, err, log) = (read("out"), read("err"), read("desk/service.log"));
    assert!(ended.success(), "the tour ended with {ended}\n{out}\n{err}\n{log}");
    Printed::of(out)
}

#[test]
fn the_tour_works_as_it_stands_in_the_readme() {
    let curl = Command::new("curl").arg("--version").output();
    assert!(curl.is_ok_and(|done| done.status.success()), "the README's tour needs curl: apt-get install curl");
    let folder = tempfile::tempdir().unwrap();
    // Where this runs as root, PostgreSQL runs as another account, which must get to its data.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();

    let printed = run(folder.path());

    let refused = printed.with("/status", "error")[0];
    assert_eq!(refused.pointer("/validation/errors/0/line"), Some(&2.into()), "{refused}");
    assert_eq!(refused.pointer("/validation/errors/0/code"), Some(&"unknown_field".into()), "{refused}");
    printed.with("/status", "processed");
    let dry_run = printed.with("/object", "dry_run")[0];
    assert_eq!(dry_run.pointer("/estimate/rows"), Some(&800.into()), "{dry_run}");

    let job = printed.with("/state", "succeeded")[0];
    let id = job["id"].as_str().unwrap();
    assert_eq!(job.pointer("/result/model"), Some(&"desk".into()), "{job}");
    printed.has(&format!("{id} is {id}"));
    printed.has(id);
    printed.has("data: [DONE]");
    printed.with("/data/0/code", "queued");
    printed.with("/data/0/name", "examples_per_second");

    let evaluation = printed.with("/kind", "evaluation")[0];
    assert_eq!(evaluation.pointer("/result/pairs/0/with_teacher"), Some(&true.into()), "{evaluation}");
    printed.with("/object", "alias");
    let prediction = printed.with("/data/0/label", "reject")[0];
    assert_eq!(prediction["model"], "desk", "the alias points to it");
    let chat = printed.with("/object", "chat.completion")[0];
    assert_eq!(chat.pointer("/choices/0/message/content"), prediction.pointer("/data/0/label"), "{chat}");
    printed.has("desk/model.safetensors");
    printed.with("/error/code", "model_in_use");
    assert!(printed.text.trim_end().ends_with(" 409"), "{}", printed.text);

    assert!(!folder.path().join("desk").exists(), "the tour removes what it made");
    let left = processes_mentioning(folder.path().to_str().unwrap());
    assert!(left.is_empty(), "the tour leaves nothing running: {left:#?}");
}
