//! The ledger of calls to teachers, on a real Postgres: nothing is sent that is not written down, and every sum holds.

use std::sync::Arc;

use stepwise::{
    domain::{Allowance, AnnotationSums, Budget, CallKey, CallOutcome, Hand, JobId, Lease, NewCall, Reply, Tokens},
    store::{LedgerBatch, LedgerCommit, Request, Store},
};

use uuid::Uuid;

use crate::support::{
    database::TestDatabase,
    seed::{begin, call, hand_in},
};

/// What `call` reserves.
const WORST: Tokens = Tokens { input: 60, output: 40 };

async fn commit(db: &TestDatabase, hand: Hand, batch: LedgerBatch) -> LedgerCommit {
    db.store.commit_ledger(hand, Arc::new(batch), false).await.unwrap()
}

fn reply(text: &str) -> Reply {
    let finish_reason = Some("stop".to_owned());
    Reply { text: text.to_owned(), finish_reason, input_tokens: 50, output_tokens: 9, latency_ms: 7 }
}

fn settled(key: CallKey, outcome: CallOutcome) -> LedgerBatch {
    LedgerBatch { settled: vec![(key, outcome)], ..LedgerBatch::default() }
}

fn wanted(call: NewCall) -> LedgerBatch {
    LedgerBatch { wanted: vec![call], ..LedgerBatch::default() }
}

fn of_tokens(max_tokens: u64) -> Allowance {
    let budget = Budget { max_tokens: Some(max_tokens), max_usd: None };
    Allowance { budget, ..Allowance::default() }
}

/// A hand in a running job.
async fn opened() -> (TestDatabase, Hand) {
    let db = TestDatabase::new().await;
    let (_, lease) = db.running_job().await;
    let hand = hand_in(&db.store, lease).await.unwrap();
    (db, hand)
}

#[tokio::test]
async fn a_call_is_reserved_when_it_begins_and_spent_by_its_outcome() {
    let (db, hand) = opened().await;
    let begins = (0..3).map(call).collect();
    let begun = commit(&db, hand, LedgerBatch { begins, ..LedgerBatch::default() }).await;
    assert_eq!((begun.begun, begun.sums.reserved), (3, Tokens { input: 180, output: 120 }));

    let outcomes = [
        CallOutcome::Answered(reply("yes")),
        CallOutcome::Failed("429".to_owned()),
        CallOutcome::Unknown("it broke off".to_owned()),
    ];
    for (index, outcome) in (0..3).zip(outcomes) {
        commit(&db, hand, settled(call(index).key, outcome)).await;
    }
    // What is settled stays as it is.
    let sums = commit(&db, hand, settled(call(1).key, CallOutcome::Answered(reply("late")))).await.sums;
    let wanted = AnnotationSums {
        answered_calls: 1,
        failed_calls: 1,
        unknown_calls: 1,
        answered: Tokens { input: 50, output: 9 },
        unknown: WORST,
        ..AnnotationSums::default()
    };
    assert_eq!(sums, wanted);
    assert_eq!(db.store.annotation_sums(hand.job_id).await.unwrap(), wanted);
    assert_eq!(sums.spent(), Tokens { input: 110, output: 49 }, "a call of which nobody knows counts as spent");
}

#[tokio::test]
async fn no_call_begins_without_room_for_its_worst_case() {
    let (db, hand) = opened().await;
    let begins: Vec<NewCall> = (0..4).map(call).collect();
    let batch = LedgerBatch { begins: begins.clone(), allowance: of_tokens(250), ..LedgerBatch::default() };
    assert_eq!(commit(&db, hand, batch).await.begun, 2, "three would take 300 tokens");
    // A settlement gives back what it did not take, in the same transaction.
    let batch = LedgerBatch {
        settled: vec![
            (call(0).key, CallOutcome::Answered(reply("yes"))),
            (call(1).key, CallOutcome::Failed("no".into())),
        ],
        begins: begins[2..].to_vec(),
        allowance: of_tokens(250),
        ..LedgerBatch::default()
    };
    let commit = commit(&db, hand, batch).await;
    assert_eq!((commit.begun, commit.sums.spent().total(), commit.sums.reserved.total()), (1, 59, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_writers_never_spend_the_same_token() {
    let (db, hand) = opened().await;
    let writers = (0..8).map(|writer| {
        let store = db.store.clone();
        tokio::spawn(async move {
            let mut begun = 0;
            for index in 0..5 {
                let batch = LedgerBatch { allowance: of_tokens(1550), ..begin(call(writer * 5 + index)) };
                begun += store.commit_ledger(hand, Arc::new(batch), false).await.unwrap().begun;
            }
            begun
        })
    });
    let mut begun = 0;
    for writer in writers.collect::<Vec<_>>() {
        begun += writer.await.unwrap();
    }
    assert_eq!(begun, 15, "of forty calls of 100 tokens");
    assert_eq!(db.store.annotation_sums(hand.job_id).await.unwrap().reserved.total(), 1500);
}

#[tokio::test]
async fn a_batch_that_is_committed_twice_counts_once() {
    let (db, hand) = opened().await;
    commit(&db, hand, begin(call(0))).await;
    commit(&db, hand, settled(call(0).key, CallOutcome::Answered(reply("yes")))).await;
    commit(&db, hand, begin(call(1))).await;
    let equal = NewCall { request_sha256: call(0).request_sha256, ..call(7) };
    let batch = Arc::new(LedgerBatch {
        settled: vec![(call(1).key, CallOutcome::Answered(reply("no")))],
        wanted: vec![equal],
        begins: vec![call(2)],
        allowance: of_tokens(59 + 59 + 100),
        ..LedgerBatch::default()
    });
    let first = db.store.commit_ledger(hand, Arc::clone(&batch), false).await.unwrap();
    // Its answer got lost on the way.
    let second = db.store.commit_ledger(hand, batch, true).await.unwrap();
    assert_eq!((first.sums, first.begun), (second.sums, 1));
    assert_eq!((second.begun, second.found[&call(7).key].text.as_str()), (1, "yes"), "all who wait are answered");
    assert_eq!((second.sums.answered_calls, second.sums.reused_calls), (2, 1));
}

#[tokio::test]
async fn what_a_dead_worker_left_under_way_is_unknown_and_replayed_with_the_answers_it_had() {
    let (db, zombie) = opened().await;
    commit(&db, zombie, LedgerBatch { begins: vec![call(3), call(4)], ..LedgerBatch::default() }).await;
    commit(&db, zombie, settled(call(3).key, CallOutcome::Answered(reply("yes")))).await;
    assert!(db.store.reap_hands(10).await.unwrap().is_empty(), "it is renewed");
    db.expire_hands().await;
    assert_eq!(db.store.reap_hands(10).await.unwrap(), [(zombie, 1)]);
    assert!(db.store.reap_hands(10).await.unwrap().is_empty(), "it is counted once");
    let sums = db.store.annotation_sums(zombie.job_id).await.unwrap();
    assert_eq!((sums.unknown_calls, sums.unknown, sums.reserved), (1, WORST, Tokens::default()));
    let late = Arc::new(settled(call(4).key, CallOutcome::Answered(reply("late"))));
    assert!(db.store.commit_ledger(zombie, late, false).await.is_err(), "the dead worker says no more");

    let past = db.store.past_calls(zombie.job_id, 0, 10).await.unwrap();
    let known: Vec<_> = past.calls.iter().map(|call| (call.key, call.reply.clone())).collect();
    assert_eq!(known, [(call(3).key, Some(reply("yes"))), (call(4).key, None)]);
    assert_eq!(db.store.past_calls(zombie.job_id, 4, 10).await.unwrap().calls.len(), 1);
}

#[tokio::test]
async fn a_call_of_which_no_hand_knows_is_unknown_when_the_ledger_is_opened() {
    let (db, hand) = opened().await;
    commit(&db, hand, LedgerBatch { begins: vec![call(3), call(4)], ..LedgerBatch::default() }).await;
    let orphan = "update teacher_calls set hand = 1000000 where example_index = 4";
    sqlx::query(orphan).execute(&db.pool).await.unwrap();
    let lease = Lease { job_id: hand.job_id, epoch: db.read(hand.job_id).await.lease_epoch };
    db.store.open_ledger(lease).await.unwrap();
    let sums = db.store.annotation_sums(hand.job_id).await.unwrap();
    assert_eq!(
        (sums.unknown_calls, sums.unknown, sums.reserved),
        (1, WORST, WORST),
        "the other one is still under way"
    );
}

#[tokio::test]
async fn an_equal_request_of_another_job_is_reused_unless_it_was_set_aside() {
    let (db, first) = opened().await;
    commit(&db, first, begin(call(0))).await;
    assert!(commit(&db, first, wanted(call(5))).await.found.is_empty(), "another request");
    let equal = |index| NewCall { request_sha256: call(0).request_sha256, ..call(index) };
    assert!(commit(&db, first, wanted(equal(5))).await.found.is_empty(), "it has no answer yet");
    commit(&db, first, settled(call(0).key, CallOutcome::Answered(reply("yes")))).await;

    let (_, second) = db.running_job().await;
    let second = hand_in(&db.store, second).await.unwrap();
    let commit_second = commit(&db, second, wanted(equal(9))).await;
    let free = Reply { input_tokens: 0, output_tokens: 0, ..reply("yes") };
    assert_eq!(commit_second.found.into_iter().collect::<Vec<_>>(), [(call(9).key, free.clone())]);
    assert_eq!((commit_second.sums.reused_calls, commit_second.sums.spent().total()), (1, 0));
    // A restart replays it from the job's own ledger.
    let past = db.store.past_calls(second.job_id, 0, 10).await.unwrap();
    assert_eq!(past.calls[0].reply.as_ref(), Some(&free));

    sqlx::query("update teacher_calls set set_aside_at = now()").execute(&db.pool).await.unwrap();
    assert!(commit(&db, second, wanted(equal(8))).await.found.is_empty());
    let past = db.store.past_calls(second.job_id, 0, 10).await.unwrap();
    assert_eq!((past.calls[0].is_set_aside, &past.calls[0].reply), (true, &None));
}

#[tokio::test]
async fn answers_from_before_the_ledger_are_verdicts_of_one_sample_and_are_in_the_sums() {
    let db = TestDatabase::before(12).await;
    db.old_annotation().await;
    let rows = "insert into annotations (job_id, example_index, project_id, example_id, input, status, teacher_label,
            rationale, input_tokens, output_tokens, latency_ms)
        select j.id, number, project_id, 'line-' || number, 'a', case number when 2 then 'invalid' else 'valid' end,
            case when number < 2 then 'yes' end, case when number < 2 then 'because' end, 7, 3, 1
        from jobs j, generate_series(0, 2) as number";
    sqlx::query(rows).execute(&db.pool).await.unwrap();
    db.store.migrate().await.unwrap();

    let id = JobId(Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_000a));
    let verdicts = db.store.list_annotations(id, &[], None, 10).await.unwrap().items;
    let read: Vec<_> = verdicts.iter().map(|verdict| (verdict.samples, verdict.agreement, verdict.repaired)).collect();
    assert_eq!(read, [(1, Some(1.0), false), (1, Some(1.0), false), (1, None, false)]);
    let sums = db.store.annotation_sums(id).await.unwrap();
    assert_eq!((sums.settled(), sums.answered_calls, sums.spent()), (3, 3, Tokens { input: 21, output: 9 }));
}

#[tokio::test]
async fn a_job_that_is_asked_to_pause_begins_no_call_and_settles_all() {
    let (db, hand) = opened().await;
    commit(&db, hand, begin(call(0))).await;
    db.store.pause_job(Store::default_project(), hand.job_id).await.unwrap();
    let batch = LedgerBatch { begins: vec![call(1)], ..settled(call(0).key, CallOutcome::Answered(reply("yes"))) };
    let paused = commit(&db, hand, batch).await;
    assert_eq!((paused.begun, paused.requested, paused.sums.answered_calls), (0, Some(Request::Pause), 1));
    db.store.cancel_job(Store::default_project(), hand.job_id).await.unwrap();
    assert_eq!(commit(&db, hand, begin(call(1))).await.requested, Some(Request::Cancel));
}
