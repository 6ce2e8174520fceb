//! Workers that share one annotation, as real processes: each asks about its own chunks, and whoever dies, pauses or cancels,
//! no example is lost and none is asked twice.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{
    fleet::{Fleet, annotate},
    service::{Process, until},
    teacher::GatedTeacher,
};

/// Several chunks, the last one short.
const ROWS: usize = 600;

/// Calls that one worker may leave: those that the teacher takes at once, and one that waits for its turn.
const UNDER_WAY: i64 = 5;

/// A job that two workers are asking about: of the four questions that the teacher takes at once each has some.
struct Shared {
    fleet: Fleet,
    teacher: GatedTeacher,
    job: String,
    leader: Process,
    helper: Process,
}

impl Shared {
    async fn begin() -> Self {
        let (fleet, teacher) = (Fleet::begin().await, GatedTeacher::start().await);
        let (leader, job) = annotate(&fleet, &teacher, ROWS).await;
        until("the leader's questions are out", async || (teacher.asked().len() == 4).then_some(())).await;
        let helper = fleet.asking_worker("helper", &teacher);
        let shared = Self { fleet, teacher, job, leader, helper };
        until("the helper has a hand in it", async || {
            (shared.count("select count(*) from annotation_hands").await == 2).then_some(())
        })
        .await;
        // The leader gives its turns up one by one, as its questions are answered.
        until("both have questions out", async || {
            let asking = "select count(distinct hand) from teacher_calls where state = 'sent'";
            let both = shared.count(asking).await == 2;
            if !both {
                shared.teacher.let_through(1);
            }
            both.then_some(())
        })
        .await;
        shared
    }

    /// The same, in the midst of its work.
    async fn halfway() -> Self {
        let shared = Self::begin().await;
        shared.teacher.let_through(40);
        until("answers are settled", async || {
            (shared.count("select count(*) from annotations").await >= 30).then_some(())
        })
        .await;
        shared
    }

    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.fleet.database.pool).await.unwrap()
    }

    async fn ask(&self, what: &str) {
        self.fleet.client.post(&format!("/v1/jobs/{}/{what}", self.job), &json!({})).await;
    }

    /// Makes what a dead worker held look so old that anybody may take it; what the living hold stays.
    async fn bury(&self, statements: &'static str) {
        sqlx::raw_sql(statements).execute(&self.fleet.database.pool).await.unwrap();
    }

    /// Lets everything through; the end is whole, and nobody was paid twice.
    async fn finish(&self) -> Value {
        self.teacher.let_through(2 * ROWS);
        let ended = self.fleet.client.until_ended(&self.job).await;
        let counts = &ended["result"]["counts"]["total"];
        assert_eq!((&ended["state"], counts), (&json!("succeeded"), &json!(ROWS)), "{ended:#}");
        let answered = self.teacher.answered();
        assert_eq!(answered.iter().collect::<HashSet<_>>().len(), ROWS, "every example was answered");
        let twice = "select count(*) from (
            select example_index from teacher_calls where state = 'answered' group by example_index having count(*) > 1
        ) as twice";
        assert_eq!(self.count(twice).await, 0, "an answer was bought twice");
        assert_eq!(self.count("select count(*) from annotation_hands").await, 0);
        ended
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_one_annotation() {
    let shared = Shared::begin().await;
    let ended = shared.finish().await;
    assert_eq!(shared.teacher.asked().len(), ROWS, "nothing was asked twice");
    assert_eq!(ended["result"]["calls"]["unknown"], 0, "{ended:#}");
    let hands = "select count(distinct hand) from teacher_calls where state = 'answered'";
    assert!(shared.count(hands).await >= 2, "both have settled some");
    assert_eq!(shared.count("select count(*) from annotation_chunks where settled_at is null").await, 0);
    assert_eq!(ended["attempt"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_helpers_part_is_taken_up_by_the_others() {
    let shared = Shared::halfway().await;
    shared.helper.signal(libc::SIGKILL);
    let its_hand = "update annotation_hands h set expires_at = now() - interval '1 second'
        from jobs j where j.id = h.job_id and h.worker <> j.lease_owner";
    shared.bury(its_hand).await;
    let ended = shared.finish().await;
    assert!(ended["result"]["calls"]["unknown"].as_i64().unwrap() <= UNDER_WAY, "{ended:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_followed_by_another_and_nothing_is_lost() {
    let shared = Shared::halfway().await;
    shared.leader.signal(libc::SIGKILL);
    let its_hand_and_lease = "update annotation_hands h set expires_at = now() - interval '1 second'
        from jobs j where j.id = h.job_id and h.worker = j.lease_owner;
        update jobs set lease_expires_at = now() - interval '1 second' where state = 'running'";
    shared.bury(its_hand_and_lease).await;
    let ended = shared.finish().await;
    assert!(ended["result"]["calls"]["unknown"].as_i64().unwrap() <= UNDER_WAY, "{ended:#}");
    assert_eq!(ended["attempt"], 2, "{ended:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_reaches_every_worker_and_keeps_what_was_on_its_way() {
    let shared = Shared::begin().await;
    shared.ask("pause").await;
    until("the job is paused", async || {
        shared.teacher.let_through(2);
        let job = shared.fleet.client.get(&format!("/v1/jobs/{}", shared.job)).await;
        (job["state"] == "paused").then_some(())
    })
    .await;
    let asked = shared.teacher.asked().len();
    assert!(asked < ROWS, "somebody never heard of the pause");
    let settled = shared.count("select count(*) from annotations").await;
    assert_eq!(settled, i64::try_from(asked).unwrap(), "every answer that was on its way is kept");
    assert_eq!(shared.count("select count(*) from annotation_hands").await, 0);
    shared.teacher.let_through(50);
    assert_eq!(shared.teacher.asked().len(), asked, "nothing is asked while the job is paused");
    shared.ask("resume").await;
    let ended = shared.finish().await;
    assert_eq!(ended["result"]["calls"]["unknown"], 0, "{ended:#}");
    assert_eq!(shared.teacher.asked().len(), ROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_every_worker_and_no_verdict_comes_after_it() {
    let shared = Shared::begin().await;
    let settled = until("all answers are settled", async || {
        let settled = shared.count("select count(*) from annotations").await;
        (settled == i64::try_from(shared.teacher.answered().len()).unwrap()).then_some(settled)
    })
    .await;
    shared.ask("cancel").await;
    let ended = shared.fleet.client.until_job(&shared.job, "has its files", |job| job["result"].is_object()).await;
    assert_eq!(
        (&ended["state"], &ended["result"]["counts"]["total"]),
        (&json!("cancelled"), &json!(settled)),
        "{ended:#}"
    );
    let asked = shared.teacher.asked().len();
    let unknown = ended["result"]["calls"]["unknown"].as_u64().unwrap();
    assert!(unknown <= 4 && unknown as usize >= asked - shared.teacher.answered().len(), "{ended:#}");
    assert_eq!(shared.count("select count(*) from annotation_hands").await, 0);
    shared.teacher.let_through(ROWS);
    assert_eq!(shared.count("select count(*) from annotations").await, settled);
    assert_eq!(shared.teacher.asked().len(), asked);
}
