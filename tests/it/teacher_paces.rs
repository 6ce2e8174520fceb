//! One pace for all workers: their shares in the database, and calls over real HTTP.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use futures::{StreamExt, stream};
use serde_json::json;
use stepwise::{
    domain::{AnswerForm, PaceShare, TeacherPace, WorkerId},
    store::{PaceKeeper, Store},
    task::{builtin, prompt},
    teacher::{
        TeacherClient, TeacherSettings,
        pace::{Exchange, Grant, Limits, PaceBook, PushBacks, Report, SHARE_KEEPS},
    },
    worker::PaceRows,
};

use crate::support::{cable::Cable, database::TestDatabase, listening::serve, seed::new_worker, teacher::question};

/// A teacher that takes a moment for each answer and counts how many it is at.
#[derive(Clone, Default)]
struct Counting {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

impl Counting {
    async fn serve(&self) -> SocketAddr {
        serve(Router::new().route("/v1/chat/completions", post(answer)).with_state(self.clone())).await
    }

    fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

async fn answer(State(teacher): State<Counting>) -> axum::Json<serde_json::Value> {
    let now = teacher.now.fetch_add(1, Ordering::SeqCst) + 1;
    teacher.most.fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    teacher.now.fetch_sub(1, Ordering::SeqCst);
    teacher.answered.fetch_add(1, Ordering::SeqCst);
    axum::Json(json!({"choices": [{"message": {"content": "Answer: a"}}]}))
}

fn client(address: SocketAddr, max_concurrency: usize, store: &Store, worker: WorkerId) -> TeacherClient {
    let settings = TeacherSettings::new("shared", &format!("http://{address}/v1"), "m");
    let settings = TeacherSettings { max_concurrency, ..settings };
    TeacherClient::new(settings).unwrap().at_the_pace_of(Arc::new(PaceRows { store: store.clone(), worker }))
}

/// Asks so many questions, as many at once as it is let.
async fn ask(client: &TeacherClient, questions: usize) {
    let task = builtin::find("text").unwrap();
    let request = question(prompt::chat(&task, AnswerForm::default(), "hello"));
    let calls = stream::iter(0..questions).map(|_| client.complete(&request)).buffer_unordered(64);
    calls.for_each(async |answer| drop(answer.unwrap())).await;
}

/// What a worker that wants so many calls is granted.
async fn exchange(db: &TestDatabase, worker: WorkerId, report: Report) -> Grant {
    let limits = Limits { max_concurrency: 16, requests_per_minute: None, tokens_per_minute: None };
    let rows = PaceRows { store: db.store.clone(), worker };
    rows.exchange("shared", Exchange { limits, report: Some(report), chance: 0.5 }).await.unwrap()
}

fn wanting(wanted: u32) -> Report {
    Report { wanted, ..Report::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_together_have_no_more_calls_under_way_than_the_teacher_allows() {
    let (db, teacher) = (TestDatabase::new().await, Counting::default());
    let address = teacher.serve().await;
    let clients = [new_worker(), new_worker(), new_worker()].map(|worker| client(address, 6, &db.store, worker));
    let [first, second, third] = &clients;
    tokio::join!(ask(first, 200), ask(second, 200), ask(third, 200));
    assert_eq!((teacher.answered.load(Ordering::SeqCst), teacher.most_at_once()), (600, 6));
}

#[tokio::test]
async fn what_one_worker_has_no_other_takes_until_it_is_given_up() {
    let (db, [first, second]) = (TestDatabase::new().await, [new_worker(), new_worker()]);
    assert_eq!(exchange(&db, first, wanting(64)).await.permits, 16);
    assert_eq!(exchange(&db, second, wanting(64)).await.permits, 0);
    let busy = Report { under_way: 16, ..wanting(64) };
    assert_eq!(exchange(&db, first, busy).await.permits, 8);
    assert_eq!(exchange(&db, second, wanting(64)).await.permits, 0, "they are still under way");
    exchange(&db, first, Report { under_way: 5, ..wanting(64) }).await;
    assert_eq!(exchange(&db, second, wanting(64)).await.permits, 8);
}

#[tokio::test]
async fn the_share_of_a_dead_worker_expires() {
    let (db, [first, second]) = (TestDatabase::new().await, [new_worker(), new_worker()]);
    exchange(&db, first, wanting(64)).await;
    assert_eq!(exchange(&db, second, wanting(64)).await.permits, 0);
    let die = "update teacher_shares set expires_at = now() - interval '1 second' where worker = $1";
    sqlx::query(die).bind(first.0).execute(&db.pool).await.unwrap();
    assert_eq!(exchange(&db, second, wanting(64)).await.permits, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_leaves_its_share_to_others_at_once() {
    let (db, teacher) = (TestDatabase::new().await, Counting::default());
    let client = client(teacher.serve().await, 16, &db.store, new_worker());
    ask(&client, 40).await;
    client.leave().await;
    assert_eq!(exchange(&db, new_worker(), wanting(64)).await.permits, 16);
    ask(&client, 1).await;
    assert_eq!(teacher.answered.load(Ordering::SeqCst), 41, "it may come back");
}

#[tokio::test]
async fn a_teachers_wish_to_be_left_alone_holds_for_every_worker() {
    let (db, [first, second]) = (TestDatabase::new().await, [new_worker(), new_worker()]);
    assert_eq!(exchange(&db, second, wanting(64)).await.blocked_for, Duration::ZERO);
    let hour = Duration::from_secs(3600);
    let wish = PushBacks { calls: 1, sent_ago: Duration::ZERO, retry_after: hour };
    exchange(&db, first, Report { pushed_back: Some(wish), ..wanting(64) }).await;
    let blocked_for = exchange(&db, second, wanting(64)).await.blocked_for;
    assert!(blocked_for > hour - Duration::from_secs(60) && blocked_for <= hour, "{blocked_for:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_a_worker_goes_on_with_what_it_holds() {
    let (db, teacher) = (TestDatabase::new().await, Counting::default());
    let (mut cable, url) = Cable::lay(&db.url).await;
    let store = Store::connect_lazy(&url, 2).unwrap();
    let client = client(teacher.serve().await, 5, &store, new_worker());
    ask(&client, 1).await;
    cable.cut();
    ask(&client, 100).await;
    assert_eq!((teacher.answered.load(Ordering::SeqCst), teacher.most_at_once()), (101, 5));
}

#[tokio::test]
async fn a_pace_is_read_as_it_was_written_and_an_exchange_is_alone_with_it() {
    let db = TestDatabase::new().await;
    let keeper = PaceKeeper { teacher: "shared".to_owned(), worker: new_worker(), keeps_for: SHARE_KEEPS };
    let count = |pace: &mut TeacherPace| {
        pace.pushed_back += 1;
        pace.window = Some(pace.window.unwrap_or(1.0) + 0.5);
    };
    let exchanges = (0..20).map(|_| {
        db.store.exchange_pace(keeper.clone(), move |pace, _, _| {
            count(pace);
            (Some(PaceShare { worker: WorkerId(uuid::Uuid::nil()), permits: 1, wanted: 1 }), ())
        })
    });
    futures::future::try_join_all(exchanges).await.unwrap();
    let last = db.store.exchange_pace(keeper, |pace, _, now| {
        pace.blocked_until = Some(now);
        (None, (pace.clone(), now))
    });
    let (pace, now) = last.await.unwrap();
    let expected =
        TeacherPace { pushed_back: 20, window: Some(11.0), blocked_until: Some(now), ..TeacherPace::default() };
    assert_eq!(pace, expected);
}
