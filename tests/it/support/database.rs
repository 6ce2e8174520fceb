//! A database of its own for each test, on one private cluster for the whole run. With STEPWISE_TEST_DATABASE_URL set,
//! on the server of that address instead, whose role must be allowed to make databases; they stay there.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    str::FromStr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, migrate::Migrator, postgres::PgConnectOptions,
};
use stepwise::{
    postgres::{Cluster, ClusterError, Durability},
    store::Store,
};
use tokio::sync::OnceCell;

/// A migrated database that only one test uses.
pub struct TestDatabase {
    /// The store on it.
    pub store: Store,
    /// Its address, for child processes.
    pub url: String,
    /// For what the store does not offer, such as looking behind it.
    pub pool: PgPool,
}

impl TestDatabase {
    pub async fn new() -> Self {
        Self::at(create_database(&new_name(), Some(template().await)).await)
    }

    /// A database without anything in it.
    pub async fn empty() -> Self {
        Self::at(create_database(&new_name(), None).await)
    }

    /// A database as it was before that migration.
    pub async fn before(version: i64) -> Self {
        let database = Self::empty().await;
        let migrations = sqlx::migrate!().migrations.iter().filter(|migration| migration.version < version).cloned();
        Migrator::with_migrations(migrations.collect()).run(&database.pool).await.unwrap();
        database
    }

    fn at(url: String) -> Self {
        let store = Store::connect_lazy(&url, 10).unwrap();
        let pool = PgPool::connect_lazy(&url).unwrap();
        Self { store, url, pool }
    }
}

fn new_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// The migrated database that the others are copied from: copying is much faster than migrating.
async fn template() -> &'static str {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    TEMPLATE
        .get_or_init(async || {
            let name = format!("template_{}", std::process::id());
            let url = create_database(&name, None).await;
            Store::connect(&url, 1).await.unwrap().migrate().await.unwrap();
            name
        })
        .await
}

/// Makes a database and returns its address.
async fn create_database(name: &str, template: Option<&str>) -> String {
    let server = server_url();
    let mut connection = PgConnection::connect(&server).await.unwrap();
    let template = template.map(|template| format!("template {template}")).unwrap_or_default();
    let statement = format!("create database {name} {template}");
    // Nobody may be connected to a database that is copied, and a server process ends a moment after its client.
    for attempt in 0.. {
        match sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut connection).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55006") && attempt < 100 => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            made => {
                made.unwrap();
                break;
            }
        }
    }
    connection.close().await.unwrap();
    PgConnectOptions::from_str(&server).unwrap().database(name).to_url_lossy().to_string()
}

/// The address of a database on the server that is always there.
fn server_url() -> String {
    static SERVER: OnceLock<String> = OnceLock::new();
    let start = || env::var("STEPWISE_TEST_DATABASE_URL").unwrap_or_else(|_| start_cluster());
    SERVER.get_or_init(start).clone()
}

static CLUSTER: Mutex<Option<Running>> = Mutex::new(None);

/// The cluster of this run.
struct Running {
    cluster: Cluster,
    home: PathBuf,
    /// Held until the place is removed: a run that began in between would lose its files to the removal.
    _place: Option<File>,
}

/// Starts the cluster of this run. Its place is always the same, so that one which a killed run left is taken over;
/// another run at the same time gets a place of its own.
fn start_cluster() -> String {
    // SAFETY: geteuid only reads; the function handed to atexit neither unwinds nor outlives what it uses.
    let user = unsafe { libc::geteuid() };
    let shared = PathBuf::from(format!("/tmp/stepwise-tests-{user}"));
    let place = File::create(shared.with_extension("lock")).unwrap();
    let place = place.try_lock().is_ok().then_some(place);
    let (cluster, home) = match place.is_some().then(|| start_in(&shared)) {
        Some(Ok(cluster)) => (cluster, shared),
        // A run was killed while it removed the place.
        Some(Err(ClusterError::NotACluster(_))) => {
            fs::remove_dir_all(&shared).unwrap();
            (start_in(&shared).unwrap(), shared)
        }
        None | Some(Err(ClusterError::InUse(_))) => {
            let own = PathBuf::from(format!("/tmp/stepwise-tests-{user}-{}", std::process::id()));
            (start_in(&own).unwrap(), own)
        }
        Some(Err(error)) => panic!("{error:?}"),
    };
    let url = cluster.url("postgres");
    *CLUSTER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { cluster, home, _place: place });
    assert_eq!(unsafe { libc::atexit(stop_cluster) }, 0);
    url
}

fn start_in(home: &PathBuf) -> Result<Cluster, ClusterError> {
    fs::create_dir_all(home).unwrap();
    fs::set_permissions(home, fs::Permissions::from_mode(0o755)).unwrap();
    Cluster::start_with(&home.join("data"), Durability::None)
}

/// The harness ends the process itself, so that nothing static is dropped.
extern "C" fn stop_cluster() {
    let Ok(mut cluster) = CLUSTER.lock() else { return };
    if let Some(running) = cluster.take() {
        drop(running.cluster);
        let _ = fs::remove_dir_all(running.home);
    }
}
