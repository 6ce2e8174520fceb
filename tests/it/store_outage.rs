//! Postgres goes away and comes back under a store that is not restarted.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use stepwise::{
    postgres::{Cluster, Durability},
    store::{JobListener, Store, StoreError, Wake},
};

#[tokio::test]
async fn the_store_says_unavailable_and_recovers_by_itself() {
    let home = tempfile::Builder::new().prefix("stepwise-outage-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let start = || Cluster::start_with(&home.path().join("data"), Durability::None).unwrap();
    let cluster = start();
    cluster.create_database("stepwise").await.unwrap();
    let url = cluster.url("stepwise");
    let store = Store::connect(&url, 4).await.unwrap();
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    let mut listener = JobListener::connect(&url).await.unwrap();

    drop(cluster);
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(Store::connect(&url, 1).await.unwrap_err().is_unavailable());
    assert!(Store::connect_lazy(&url, 1).unwrap().migrate().await.unwrap_err().is_unavailable());
    assert_eq!(listener.wait(Duration::from_millis(100)).await, Wake::Reconnected);
    assert_eq!(listener.wait(Duration::from_millis(100)).await, Wake::TimedOut);

    let _cluster = start();
    store.ping().await.unwrap();
    store.job_counts().await.unwrap();
    assert_eq!(listener.wait(Duration::from_secs(20)).await, Wake::Reconnected);
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_refused() {
    let error = Store::connect_lazy("not an address", 1).unwrap_err();
    assert!(matches!(error, StoreError::Address(_)), "{error:?}");
}
