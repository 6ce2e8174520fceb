//! Settings through the real binary: what it refuses, when, and in which words.

use std::{fs, net::TcpListener, path::PathBuf};

use crate::support::{
    database::TestDatabase,
    service::{Process, free_address, program, run, until},
};

const TEACHER: &str = "[[teachers]]\nname = 'large'\nbase_url = 'http://127.0.0.1:9/v1'\nmodel = 'm'\napi_key_env = 'SETTINGS_TEST_KEY'\n";

fn folder_with(config: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stepwise.toml");
    fs::write(&path, config).unwrap();
    (folder, path)
}

#[test]
fn the_readme_has_every_setting_as_the_program_reads_it() {
    let readme = include_str!("../../README.md");
    let tables = stepwise::config::markdown();
    assert!(readme.contains(&tables), "put the output of `stepwise settings --markdown` into README.md:\n{tables}");
}

#[test]
fn everything_that_is_wrong_is_refused_at_once_before_anything_is_touched() {
    let (folder, config) = folder_with("\nmax_waiting = 0\nthread = 3\n");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let blocked = config.join("data").display().to_string();
    let ended = run(
        &[
            "serve",
            "--config",
            config.to_str().unwrap(),
            "--listen",
            &listen,
            "--data-dir",
            &blocked,
            "--precision",
            "fp16",
        ],
        &[("STEPWISE_DEVICE", "cuda:99"), ("DATABASE_URL", "mysql://h/d")],
    );
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for fault in [
        "7 settings cannot be used; nothing was started",
        "device = \"cuda:99\" (variable STEPWISE_DEVICE): device cuda:99 was asked for",
        &format!("max_waiting = \"0\" ({}:2): must be at least 1", config.display()),
        &format!("thread ({}:3): there is no such setting; did you mean \"threads\"?", config.display()),
        "precision = \"fp16\" (--precision): must be auto, bf16, fp32 or int8",
        "database_url (variable DATABASE_URL): must be an address such as postgres://",
        &format!("listen = {listen:?} (--listen): cannot be listened on"),
        "(--data-dir):",
    ] {
        assert!(ended.err.contains(fault), "{fault}\n{}", ended.err);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the configuration is there");
}

#[test]
fn a_command_without_its_database_says_how_to_name_one() {
    let listen = free_address().to_string();
    for arguments in [&["serve", "--listen", &listen][..], &["work"], &["migrate"]] {
        let ended = run(arguments, &[]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("database_url: is not set; give STEPWISE_DATABASE_URL"), "{ended:?}");
    }
}

#[test]
fn a_flag_that_a_command_does_not_read_is_refused() {
    let ended = run(&["serve", "--kinds", "annotation"], &[]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("--kinds"), "{ended:?}");
}

#[test]
fn only_who_asks_teachers_needs_their_keys() {
    let (folder, config) = folder_with(TEACHER);
    let (config, data) = (config.to_str().unwrap(), folder.path().join("data").display().to_string());
    let work = |kinds: &str| {
        let arguments = ["work", "--config", config, "--data-dir", &data, "--kinds", kinds, "--device", "cuda:99"];
        run(&arguments, &[("DATABASE_URL", "postgres://h/d")]).err
    };
    let refused = work("annotation,evaluation");
    assert!(refused.contains("teachers.large") && refused.contains(":1)"), "{refused}");
    assert!(refused.contains("SETTINGS_TEST_KEY, which is not set"), "{refused}");
    let trains = work("distillation");
    assert!(trains.contains("a setting cannot be used") && trains.contains("cuda:99"), "{trains}");
}

#[tokio::test]
async fn a_service_is_alive_before_its_database_is_and_the_healthcheck_says_so() {
    let (folder, config) = folder_with(TEACHER);
    let (listen, data) = (free_address().to_string(), folder.path().join("data").display().to_string());
    let asked = ["healthcheck", "--listen", &listen];
    assert_eq!(run(&asked, &[]).code, Some(1), "nothing listens there yet");
    let nowhere = format!("postgres://stepwise@localhost/d?host={}", folder.path().display());
    let _serve = Process::start(
        &["serve", "--config", config.to_str().unwrap(), "--listen", &listen, "--data-dir", &data, "--threads", "1"],
        &[("DATABASE_URL", &nowhere)],
        &folder.path().join("serve.log"),
    );
    until("the service is alive", async || (run(&asked, &[]).code == Some(0)).then_some(())).await;
    let ready = run(&["healthcheck", "--ready", "--url", &format!("http://{listen}/")], &[]);
    assert_eq!(ready.code, Some(1), "{ready:?}");
    assert!(ready.out.contains("503") && ready.out.contains("database"), "{ready:?}");
}

#[tokio::test]
async fn an_address_that_others_reach_needs_a_key_or_consent_of_who_listens_and_of_nobody_else() {
    let (folder, database) = (tempfile::tempdir().unwrap(), TestDatabase::new().await);
    let open = [("STEPWISE_LISTEN", "0.0.0.0:0"), ("DATABASE_URL", database.url.as_str())];
    let data = folder.path().join("data").display().to_string();
    let refused = run(&["serve", "--data-dir", &data, "--threads", "1"], &open);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for words in ["there is no API key yet", "stepwise keys create", "STEPWISE_ALLOW_UNAUTHENTICATED=true"] {
        assert!(refused.err.contains(words), "{words}: {refused:?}");
    }
    assert_eq!(run(&["migrate"], &open).code, Some(0));
    let asked = run(&["healthcheck"], &[("STEPWISE_LISTEN", "0.0.0.0:1")]);
    assert!(asked.err.contains("http://127.0.0.1:1/healthz does not answer"), "{asked:?}");
}

#[test]
fn settings_say_where_they_came_from_and_are_what_counts() {
    let (_folder, config) = folder_with("max_models = 7\n");
    let ended = run(
        &["settings", "--config", config.to_str().unwrap(), "--threads", "3"],
        &[("STEPWISE_LOG", "debug"), ("STEPWISE_MAX_MODEL", "1")],
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let line = |key: &str| {
        ended.out.lines().find(|line| line.starts_with(key)).unwrap().split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(line("max_models"), ["max_models", "7", &format!("{}:1", config.display())]);
    assert_eq!(line("threads"), ["threads", "3", "--threads"]);
    assert_eq!(line("log "), ["log", "debug", "variable", "STEPWISE_LOG"]);
    assert_eq!(line("listen"), ["listen", "127.0.0.1:8080", "default"]);
    assert!(ended.err.contains("did you mean STEPWISE_MAX_MODELS?"), "{ended:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_fault_of_a_command_that_prints() {
    for arguments in [
        &["settings"][..],
        &["settings", "--markdown"],
        &["doctor", "--listen", "127.0.0.1:0"],
        &["openapi"],
        &["errors"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = program().args(arguments).stdout(writer).output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.code() != Some(101) && !told.contains("panicked"), "{arguments:?}: {told}");
    }
}

#[test]
fn every_command_that_logs_takes_the_logs_settings() {
    for command in ["train", "scripted-teacher"] {
        let help = run(&[command, "--help"], &[]).out;
        assert!(["--config", "--log ", "--log-format"].iter().all(|flag| help.contains(flag)), "{help}");
        assert!(!help.contains("--data-dir"), "{help}");
    }
}

#[test]
fn the_doctor_names_what_is_wrong_and_goes_on() {
    let (folder, config) = folder_with("max_models = 0\n");
    let data = folder.path().join("data").display().to_string();
    let listen = free_address().to_string();
    let ended = run(
        &[
            "doctor",
            "--config",
            config.to_str().unwrap(),
            "--data-dir",
            &data,
            "--device",
            "cuda:99",
            "--listen",
            &listen,
        ],
        &[],
    );
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("MISSING  setting: max_models = \"0\""), "{ended:?}");
    assert!(ended.out.contains("MISSING  device:") && ended.out.contains("ok       data directory:"), "{ended:?}");
    assert!(!PathBuf::from(data).exists(), "the doctor changes nothing");
}

#[test]
fn the_images_set_only_what_the_program_reads() {
    let known = stepwise::config::SETTINGS.iter().flat_map(stepwise::config::Setting::variables);
    let known: Vec<String> = known.chain(["STEPWISE_CONFIG".to_owned()]).collect();
    let of_the_build = ["STEPWISE_CACHE", "STEPWISE_CUDA", "STEPWISE_TARGET", "STEPWISE_PORT"];
    let exported: Vec<_> = of_the_build.iter().map(|name| (*name, "x")).collect();
    let ended = run(&["settings"], &exported);
    assert!(!ended.err.contains("is no setting"), "who exports them is not told of a slip: {ended:?}");
    for text in [
        include_str!("../../docker/Dockerfile"),
        include_str!("../../docker/compose.yaml"),
        include_str!("../../docker/compose.cuda.yaml"),
    ] {
        for word in text.split(|letter: char| !letter.is_ascii_uppercase() && letter != '_') {
            let ours = word.starts_with("STEPWISE_");
            assert!(
                !ours || known.iter().any(|name| name == word) || of_the_build.contains(&word),
                "{word} is read by nothing"
            );
        }
    }
}

#[test]
fn the_example_of_a_task_in_a_file_can_be_used_and_a_faulty_one_is_named() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tasks");
    let shown = run(&["settings", "--tasks-dir", examples], &[]);
    assert!(shown.code == Some(0) && shown.out.contains("tasks.urgency"), "{shown:?}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mood.toml"), "label_set = { fixed = ['good', 'good'] }\n").unwrap();
    let refused = run(&["settings", "--tasks-dir", folder.path().to_str().unwrap()], &[]);
    let fault = format!(
        "tasks.mood ({}/mood.toml:1): label_set.fixed[1]: the label \"good\" is there twice",
        folder.path().display()
    );
    assert!(refused.code == Some(2) && refused.err.contains(&fault), "{refused:?}");
}
