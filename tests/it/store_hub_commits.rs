//! What a Hub id means to a job: written once, by whoever holds the job.

use stepwise::{
    domain::{HubCommit, HubId},
    store::StoreError,
};

use crate::support::database::TestDatabase;

fn commit(digit: char) -> HubCommit {
    digit.to_string().repeat(40).parse().unwrap()
}

#[tokio::test]
async fn the_first_attempt_decides_what_an_id_means_to_a_job() {
    let db = TestDatabase::new().await;
    let (main, other): (HubId, HubId) = ("google/t5".parse().unwrap(), "google/t5@v2".parse().unwrap());
    let (job, first) = db.running_job().await;
    assert_eq!(db.store.hub_commit(job.id, &main).await.unwrap(), None);
    db.store.pin_hub_commit(first, &main, &commit('a')).await.unwrap();
    db.store.release(first).await.unwrap();
    let lost = db.store.pin_hub_commit(first, &other, &commit('b')).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost(_))), "{lost:?}");
    let (_, second) = db.claim().await.unwrap();
    db.store.pin_hub_commit(second, &main, &commit('b')).await.unwrap();
    db.store.pin_hub_commit(second, &other, &commit('b')).await.unwrap();
    assert_eq!(db.store.hub_commit(job.id, &main).await.unwrap(), Some(commit('a')));
    assert_eq!(db.store.hub_commit(job.id, &other).await.unwrap(), Some(commit('b')));
    let told = db.event_codes(job.id).await;
    assert_eq!(told.iter().filter(|code| *code == "hub_commit").count(), 2, "once for each id: {told:?}");
    let (another, lease) = db.running_job().await;
    assert_eq!(db.store.hub_commit(another.id, &main).await.unwrap(), None);
    db.store.pin_hub_commit(lease, &main, &commit('c')).await.unwrap();
    assert_eq!(db.store.hub_commit(another.id, &main).await.unwrap(), Some(commit('c')));
}
