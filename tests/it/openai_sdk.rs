//! OpenAI's own Python package against the service, where this machine has it.

use std::process::Command;

use crate::support::{
    app::TestApp,
    student::{desk_labels, write_student},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_unmodified_openai_package_reads_every_answer() {
    let python = std::env::var("STEPWISE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let there = Command::new(&python).args(["-c", "import openai"]).output().is_ok_and(|done| done.status.success());
    if !there {
        println!("SKIPPED: {python} has no package openai; set STEPWISE_PYTHON to a Python that has it");
        return;
    }
    let app = TestApp::start().await;
    write_student(&app, "tiny", desk_labels());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openai_sdk.py");
    let mut command = Command::new(python);
    command.args(["-B", script, &format!("http://{}/v1", app.address)]);
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
