//! OpenAI's own Python package, as it is, against a service and a worker that are processes of their own.

use std::{env, path::Path, process::Command};

use crate::support::{
    fleet::Fleet,
    service::head,
    student::{desk_labels, write_student_to},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openai_sdk.py");
/// Names a Python that has the package: then the test must run.
const VARIABLE: &str = "STEPWISE_OPENAI_PYTHON";

/// A Python that has the package; none where nobody has named one and the machine's own has not got it.
fn python() -> Option<String> {
    let named = env::var(VARIABLE).ok();
    let python = named.clone().unwrap_or_else(|| "python3".to_owned());
    let tried = Command::new(&python).args(["-c", "import openai"]).output();
    let has_package = tried.as_ref().is_ok_and(|done| done.status.success());
    assert!(has_package || named.is_none(), "{VARIABLE} is {python}, which has no package openai: {tried:?}");
    has_package.then_some(python)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmodified_openai_package_reads_every_answer() {
    let Some(python) = python() else {
        println!("SKIPPED: python3 has no package openai; `make test` installs it, as does scripts/openai_sdk");
        return;
    };
    let fleet = Fleet::begin().await;
    let (desk, models) = (fleet.folder.path().join("desk"), fleet.folder.path().join("models"));
    write_student_to(&models.join("tiny"), desk_labels(), 7);
    let _worker = fleet.worker("worker");
    let mut command = Command::new(python);
    command.args(["-B", SCRIPT, &format!("{}/v1", fleet.client.base())]);
    command.args([path(&head(&desk.join("labeled.jsonl"), 60)), path(&desk.join("task.json"))]);
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{}\n{}", said(&done.stdout), said(&done.stderr));
}

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
