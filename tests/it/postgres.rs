//! The private cluster: start, stop, crash of the server, crash of its owner, closed folders, long paths.

use std::{env, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use sqlx::{Connection, PgConnection};
use stepwise::postgres::{Cluster, ClusterError, Durability};

const CRASHING_OWNER: &str = "STEPWISE_TEST_CRASHING_OWNER";

#[tokio::test]
async fn a_cluster_keeps_its_data_over_a_restart() {
    let home = home();
    let cluster = start(&home.path().join("data")).unwrap();
    cluster.create_database("kept").await.unwrap();
    cluster.create_database("kept").await.unwrap();
    drop(cluster);
    let cluster = start(&home.path().join("data")).unwrap();
    assert_eq!(databases(&cluster).await, ["kept", "postgres"]);
}

#[tokio::test]
async fn a_killed_server_is_started_again() {
    let home = home();
    let cluster = start(&home.path().join("data")).unwrap();
    cluster.create_database("kept").await.unwrap();
    kill_server(cluster.folder());
    drop(cluster);
    let cluster = start(&home.path().join("data")).unwrap();
    assert_eq!(databases(&cluster).await, ["kept", "postgres"]);
}

#[tokio::test]
async fn the_server_of_a_crashed_owner_is_taken_over() {
    let home = home();
    let data = home.path().join("data");
    let owner = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "postgres::owner_that_crashes"])
        .env(CRASHING_OWNER, &data)
        .output()
        .unwrap();
    assert!(!owner.status.success() && data.join("postmaster.pid").exists(), "{owner:?}");
    let cluster = start(&data).unwrap();
    assert_eq!(databases(&cluster).await, ["kept", "postgres"]);
}

#[tokio::test]
#[ignore = "started by the_server_of_a_crashed_owner_is_taken_over, as a process of its own"]
async fn owner_that_crashes() {
    let Some(data) = env::var_os(CRASHING_OWNER) else { return };
    let cluster = start(Path::new(&data)).unwrap();
    cluster.create_database("kept").await.unwrap();
    std::process::abort();
}

#[test]
fn a_stale_pid_file_that_names_a_stranger_does_no_harm() {
    let home = home();
    let data = home.path().join("data");
    drop(start(&data).unwrap());
    fs::write(data.join("postmaster.pid"), format!("{}\n", std::process::id())).unwrap();
    start(&data).unwrap();
}

#[test]
fn a_second_owner_is_refused() {
    let home = home();
    let _first = start(&home.path().join("data")).unwrap();
    let error = start(&home.path().join("data")).unwrap_err();
    assert!(matches!(error, ClusterError::InUse(_)), "{error}");
}

#[test]
fn a_folder_with_something_else_in_it_is_left_alone() {
    let home = home();
    fs::create_dir(home.path().join("data")).unwrap();
    fs::write(home.path().join("data/diary.txt"), "dear diary").unwrap();
    let error = start(&home.path().join("data")).unwrap_err();
    assert!(matches!(error, ClusterError::NotACluster(_)), "{error}");
}

#[tokio::test]
async fn a_home_that_is_closed_to_others_will_do() {
    let home = home();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let data = home.path().join("data");
    drop(start(&data).unwrap());
    let cluster = start(&data).unwrap();
    assert_eq!(databases(&cluster).await, ["postgres"]);
    let folder = cluster.folder().to_owned();
    drop(cluster);
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_will_do() {
    let home = home();
    let deep = home.path().join("it's a long one ".repeat(7).trim_end());
    let cluster = start(&deep.join("data")).unwrap();
    assert_eq!(databases(&cluster).await, ["postgres"]);
}

/// A folder that the server's account can reach.
fn home() -> tempfile::TempDir {
    let home = tempfile::Builder::new().prefix("stepwise-cluster-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    home
}

fn start(data: &Path) -> Result<Cluster, ClusterError> {
    Cluster::start_with(data, Durability::None)
}

fn kill_server(folder: &Path) {
    let file = fs::read_to_string(folder.join("postmaster.pid")).unwrap();
    let pid: i32 = file.lines().next().unwrap().parse().unwrap();
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
}

async fn databases(cluster: &Cluster) -> Vec<String> {
    let mut connection = PgConnection::connect(&cluster.url("postgres")).await.unwrap();
    let query = "select datname::text from pg_database where not datistemplate order by 1";
    sqlx::query_scalar(query).fetch_all(&mut connection).await.unwrap()
}
