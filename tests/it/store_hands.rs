//! Hands in an annotation: a chunk is held by one of them, and what a hand leaves is open to the others.

use stepwise::{
    domain::{Chunk, Hand, Lease, WorkerId},
    store::{Request, Store, StoreError},
};

use crate::support::{
    database::TestDatabase,
    seed::{begin, call, hand_in, long_terms, new_worker},
};

/// So many chunks of ten examples each.
fn chunks(count: i32) -> Vec<Chunk> {
    let chunk = |number| {
        let first = i64::from(number) * 10;
        let (line_number, byte_offset, end_offset) = (first + 1, first * 20, (first + 10) * 20);
        Chunk { number, first_index: first, end_index: first + 10, line_number, byte_offset, end_offset }
    };
    (0..count).map(chunk).collect()
}

/// A running job with planned chunks, and its leader's hand.
async fn planned(count: i32) -> (TestDatabase, Lease, Hand) {
    let db = TestDatabase::new().await;
    let (_, lease) = db.running_job().await;
    let hand = hand_in(&db.store, lease).await.unwrap();
    db.store.plan_chunks(lease, &chunks(count)).await.unwrap();
    (db, lease, hand)
}

async fn join(db: &TestDatabase, worker: WorkerId) -> Option<Hand> {
    let teachers = ["scripted".to_owned()];
    let joined = db.store.join_annotation(worker, &teachers, &[], long_terms().duration).await.unwrap();
    joined.map(|(_, hand)| hand)
}

#[tokio::test]
async fn a_chunk_is_taken_once_and_settled_by_who_has_it() {
    let (db, lease, leader) = planned(3).await;
    // A plan that is repeated adds nothing.
    db.store.plan_chunks(lease, &chunks(3)).await.unwrap();
    assert_eq!(db.store.last_chunk(lease.job_id).await.unwrap(), Some(chunks(3)[2]));
    assert!(db.store.has_unsettled_chunks(lease.job_id).await.unwrap(), "all are open");
    let helper = join(&db, new_worker()).await.unwrap();
    let (first, second) = tokio::join!(db.store.take_chunk(leader, &[]), db.store.take_chunk(helper, &[]));
    let [mine, others] = [first, second].map(|chunk| chunk.unwrap().unwrap().number);
    assert_eq!((mine.min(others), mine.max(others)), (0, 1));
    let refused = db.store.settle_chunk(helper, mine).await;
    assert!(matches!(refused, Err(StoreError::HandLost(hand)) if hand == helper), "it is the other's: {refused:?}");
    db.store.settle_chunk(leader, mine).await.unwrap();
    db.store.settle_chunk(leader, mine).await.unwrap();
    assert_eq!(db.store.take_chunk(leader, &[]).await.unwrap(), Some(chunks(3)[2]));
    assert_eq!(db.store.take_chunk(leader, &[2]).await.unwrap(), None);
    for (hand, number) in [(leader, 2), (helper, others)] {
        assert!(db.store.has_unsettled_chunks(lease.job_id).await.unwrap(), "one is held");
        db.store.settle_chunk(hand, number).await.unwrap();
    }
    assert!(!db.store.has_unsettled_chunks(lease.job_id).await.unwrap());
}

#[tokio::test]
async fn a_chunk_whose_taking_was_never_answered_is_taken_once_more_by_who_has_it() {
    let (db, _, leader) = planned(3).await;
    let helper = join(&db, new_worker()).await.unwrap();
    assert_eq!(db.store.take_chunk(leader, &[]).await.unwrap(), Some(chunks(3)[0]));
    assert_eq!(db.store.take_chunk(leader, &[]).await.unwrap(), Some(chunks(3)[0]), "nobody knows that it is taken");
    assert_eq!(db.store.take_chunk(helper, &[]).await.unwrap(), Some(chunks(3)[1]));
    assert_eq!(db.store.take_chunk(leader, &[0]).await.unwrap(), Some(chunks(3)[2]));
}

#[tokio::test]
async fn a_hand_that_ends_or_is_taken_away_leaves_its_chunks_to_the_others() {
    let (db, lease, leader) = planned(2).await;
    let (first, second) = (join(&db, new_worker()).await.unwrap(), join(&db, new_worker()).await.unwrap());
    for hand in [first, second] {
        assert!(db.store.take_chunk(hand, &[]).await.unwrap().is_some());
    }
    db.store.end_hand(first).await.unwrap();
    db.store.end_hand(first).await.unwrap();
    assert_eq!(db.store.take_chunk(leader, &[]).await.unwrap(), Some(chunks(2)[0]));
    db.expire_hands().await;
    assert_eq!(db.store.beat_hand(leader, long_terms().duration).await.unwrap(), Some(None));
    let reaped = db.store.reap_hands(10).await.unwrap();
    assert_eq!(reaped.iter().map(|(hand, _)| *hand).collect::<Vec<_>>(), [second]);
    assert_eq!(db.store.take_chunk(leader, &[0]).await.unwrap(), Some(chunks(2)[1]));
    for lost in [first, second] {
        assert!(db.store.beat_hand(lost, long_terms().duration).await.unwrap().is_none());
        assert!(matches!(db.store.take_chunk(lost, &[]).await, Err(StoreError::HandLost(hand)) if hand == lost));
        let late = std::sync::Arc::new(begin(call(0)));
        assert!(matches!(db.store.commit_ledger(lost, late, false).await, Err(StoreError::HandLost(_))));
    }
    assert!(db.store.has_hands(lease.job_id).await.unwrap(), "the leader's");
    db.store.end_hand(leader).await.unwrap();
    assert!(!db.store.has_hands(lease.job_id).await.unwrap());
}

#[tokio::test]
async fn nobody_joins_what_is_closed_asked_to_stop_or_his_own() {
    let (db, lease, leader) = planned(2).await;
    let owner = db.read(lease.job_id).await.lease_owner.unwrap();
    assert_eq!(join(&db, owner).await, None, "it leads the job");
    let helper = new_worker();
    let hand = join(&db, helper).await.unwrap();
    assert_eq!(join(&db, helper).await, None, "one hand is enough");
    let others = ["another".to_owned()];
    let stranger = db.store.join_annotation(new_worker(), &others, &[], long_terms().duration).await.unwrap();
    assert!(stranger.is_none(), "it does not know the teacher");

    db.store.close_ledger(lease).await.unwrap();
    assert_eq!(join(&db, new_worker()).await, None);
    assert_eq!(db.store.beat_hand(hand, long_terms().duration).await.unwrap(), Some(Some(Request::Pause)));
    assert_eq!(db.store.take_chunk(leader, &[]).await.unwrap(), None);
    db.store.open_ledger(lease).await.unwrap();
    assert_eq!(db.store.beat_hand(hand, long_terms().duration).await.unwrap(), Some(None));
    db.store.cancel_job(Store::default_project(), lease.job_id).await.unwrap();
    assert_eq!(join(&db, new_worker()).await, None);
    assert_eq!(db.store.beat_hand(hand, long_terms().duration).await.unwrap(), Some(Some(Request::Cancel)));
    assert_eq!(db.store.take_chunk(leader, &[]).await.unwrap(), None);
}

#[tokio::test]
async fn what_was_paid_for_is_written_while_a_hand_lasts_but_nothing_begins_without_a_leader() {
    let (db, lease, _) = planned(1).await;
    let helper = join(&db, new_worker()).await.unwrap();
    db.store.release(lease).await.unwrap();
    let late = db.store.commit_ledger(helper, std::sync::Arc::new(begin(call(0))), false).await.unwrap();
    assert_eq!((late.begun, late.requested), (0, Some(Request::Pause)), "nothing more begins");
    db.store.cancel_job(Store::default_project(), lease.job_id).await.unwrap();
    let over = db.store.commit_ledger(helper, std::sync::Arc::new(begin(call(0))), false).await.unwrap();
    assert_eq!((over.begun, over.requested), (0, Some(Request::Cancel)), "its files wait for this hand");
}
