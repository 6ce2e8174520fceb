//! OpenAI's own Python package, as it is, against a service and a worker that are processes of their own.

use std::{
    env,
    io::{self, Write},
    path::Path,
    process::Command,
};

use crate::support::{
    fleet::Fleet,
    keys::{ALL, make_key},
    service::head,
    student::{desk_labels, write_student_to},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openai_sdk.py");
/// What the test was last looked at with.
const PINNED: &str = include_str!("../openai_sdk.txt");
/// Names a Python that has the package: then the test must run.
const VARIABLE: &str = "STEPWISE_OPENAI_PYTHON";

/// A Python that has the package in the pinned version, or what there is instead.
fn python() -> Result<String, String> {
    let python = env::var(VARIABLE).unwrap_or_else(|_| "python3".to_owned());
    let wanted = PINNED.lines().find_map(|line| line.strip_prefix("openai==")).unwrap();
    let tried = Command::new(&python).args(["-c", "import openai; print(openai.__version__)"]).output();
    let tried = tried.map_err(|error| format!("{python:?} cannot be started: {error}"))?;
    match String::from_utf8_lossy(&tried.stdout).trim() {
        "" => Err(format!("{python:?} has no package openai; tests/openai_sdk.txt pins {wanted}")),
        found if found == wanted => Ok(python),
        found => Err(format!("{python:?} has openai {found}; tests/openai_sdk.txt pins {wanted}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmodified_openai_package_reads_every_answer() {
    let python = match python() {
        Ok(python) => python,
        Err(fault) => {
            assert!(
                env::var(VARIABLE).is_err(),
                "{VARIABLE}: {fault}; scripts/openai_sdk makes one, once, with a network"
            );
            // Past the harness, which shows what a test prints only where it fails.
            let words = "NOT RUN: the test with OpenAI's own package; `make test` runs it";
            writeln!(io::stderr(), "{words}: {fault}").unwrap();
            return;
        }
    };
    let fleet = Fleet::begin().await;
    let (desk, models) = (fleet.folder.path().join("desk"), fleet.folder.path().join("models"));
    write_student_to(&models.join("tiny"), desk_labels(), 7);
    let _worker = fleet.worker("worker");
    let key = make_key(&fleet.database.url, ALL);
    let mut command = Command::new(python);
    command.env("OPENAI_API_KEY", key);
    command.args(["-B", SCRIPT, &format!("{}/v1", fleet.client.base())]);
    command.args([path(&head(&desk.join("labeled.jsonl"), 60)), path(&desk.join("task.json"))]);
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{}\n{}", said(&done.stdout), said(&done.stderr));
}

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
