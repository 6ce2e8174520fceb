//! Workers that die, as real processes: what they held is taken up again, and they leave nothing behind.

use crate::support::{
    fleet::Fleet,
    service::{processes_mentioning, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_training_is_taken_up_again_and_its_child_is_gone() {
    let fleet = Fleet::begin().await;
    let job = fleet.training(400).await;
    let first = fleet.worker("first");
    fleet.until_training(&job).await;
    first.signal(libc::SIGKILL);
    until("the child of the killed worker is gone", async || processes_mentioning(&job).is_empty().then_some(())).await;

    fleet.expire_leases().await;
    let _second = fleet.worker("second");
    let ended = fleet.client.until_ended(&job).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    assert_eq!(ended["attempt"], 2, "{ended:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_lease_stops_its_training() {
    let fleet = Fleet::begin().await;
    let job = fleet.training(1_000_000).await;
    let _worker = fleet.worker("loser");
    fleet.until_training(&job).await;
    // Somebody else claims it: the epoch moves on, and the owner is not ours any more.
    let take_over = "update jobs set lease_epoch = lease_epoch + 1, lease_owner = gen_random_uuid(),
        lease_expires_at = now() + interval '1 hour' where state = 'running'";
    sqlx::query(take_over).execute(&fleet.database.pool).await.unwrap();
    until("the training is stopped", async || processes_mentioning(&job).is_empty().then_some(())).await;
    let kept = fleet.client.get(&format!("/v1/jobs/{job}")).await;
    assert_eq!(kept["state"], "running", "the loser changed nothing: {kept:#}");
}
