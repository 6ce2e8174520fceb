//! What several workers do together to a teacher that is out, and to one that allows so many requests a minute: real HTTP,
//! one database, and what the teacher saw.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::json;
use stepwise::{
    task::prompt::Message,
    teacher::{TeacherClient, TeacherSettings},
    worker::PaceRows,
};
use tokio::task::JoinSet;

use crate::support::{database::TestDatabase, listening::serve, seed::new_worker, service::until, teacher::question};

/// Calls that each worker would have under way if it could.
const EAGER: usize = 32;

/// A teacher that can be out, and remembers what it saw.
#[derive(Clone, Default)]
struct Moody(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    is_out: bool,
    came: Vec<Instant>,
    pushed_back: usize,
    answered: usize,
    now: usize,
    most_at_once: usize,
    /// The most calls at once before the first answer after the outage.
    burst: Option<usize>,
}

impl Moody {
    async fn serve(&self) -> SocketAddr {
        serve(Router::new().route("/v1/chat/completions", post(answer)).with_state(self.clone())).await
    }

    fn see<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }
}

async fn answer(State(teacher): State<Moody>) -> Response {
    let is_out = teacher.see(|seen| {
        seen.came.push(Instant::now());
        seen.pushed_back += usize::from(seen.is_out);
        if !seen.is_out {
            seen.now += 1;
            seen.most_at_once = seen.most_at_once.max(seen.now);
        }
        seen.is_out
    });
    if is_out {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    teacher.see(|seen| {
        seen.now -= 1;
        seen.answered += 1;
        seen.burst = seen.burst.or(Some(seen.most_at_once));
    });
    axum::Json(json!({"choices": [{"message": {"content": "Answer: a"}}]})).into_response()
}

/// A worker that asks on and on, whatever it is answered; it dies with this value.
fn eager_worker(db: &TestDatabase, settings: &TeacherSettings) -> JoinSet<()> {
    let rows = PaceRows { store: db.store.clone(), worker: new_worker() };
    let client = TeacherClient::new(settings.clone()).unwrap().at_the_pace_of(Arc::new(rows));
    let mut asking = JoinSet::new();
    for _ in 0..EAGER {
        asking.spawn(ask_forever(client.clone()));
    }
    asking
}

fn ask_forever(client: TeacherClient) -> impl Future<Output = ()> {
    let messages = vec![Message { role: "user".to_owned(), content: "hello".to_owned() }];
    async move {
        let request = question(messages);
        loop {
            drop(client.complete(&request).await);
        }
    }
}

fn settings(address: SocketAddr) -> TeacherSettings {
    let settings = TeacherSettings::new("moody", &format!("http://{address}/v1"), "m");
    TeacherSettings { max_concurrency: 2 * EAGER, ..settings }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_of_nothing_but_429s_one_call_goes_ahead_and_the_others_follow() {
    let (db, teacher) = (TestDatabase::new().await, Moody::default());
    let settings = settings(teacher.serve().await);
    let _workers = [eager_worker(&db, &settings), eager_worker(&db, &settings)];
    until("both workers ask", async || teacher.see(|seen| (seen.answered > 500).then_some(()))).await;
    assert!(teacher.see(|seen| seen.most_at_once) > EAGER, "together they ask more at once than one would");

    teacher.see(|seen| seen.is_out = true);
    until("one probe after the other is pushed back", async || {
        let outages: i32 = sqlx::query_scalar("select outages from teacher_paces").fetch_one(&db.pool).await.unwrap();
        (outages >= 3).then_some(())
    })
    .await;
    // 429s come back at once: without waits there would be thousands. What both workers may have under way comes back, once
    // more while they narrow, and once more where one has not heard what the other told; then there are only probes.
    let pushed_back = teacher.see(|seen| seen.pushed_back);
    assert!(pushed_back <= 3 * 2 * EAGER, "{pushed_back}");

    teacher.see(|seen| (seen.is_out, seen.most_at_once, seen.burst) = (false, 0, None));
    let burst = until("the first answer after it", async || teacher.see(|seen| seen.burst)).await;
    assert_eq!(burst, 1, "one goes ahead, and while it is under way nobody follows");
    until("all of them ask again", async || teacher.see(|seen| (seen.most_at_once > EAGER).then_some(()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_no_ten_seconds_are_there_more_than_a_twentieth_beyond_the_limit_on_requests() {
    const PER_MINUTE: u32 = 3000;
    let (db, teacher) = (TestDatabase::new().await, Moody::default());
    let settings = TeacherSettings { requests_per_minute: Some(PER_MINUTE), ..settings(teacher.serve().await) };
    let allowed = PER_MINUTE as usize / 6;
    let came = |count: usize| {
        let teacher = teacher.clone();
        until("calls come", async move || teacher.see(|seen| (seen.came.len() >= count).then_some(())))
    };
    let mut first = eager_worker(&db, &settings);
    came(allowed / 4).await;
    let _second = eager_worker(&db, &settings);
    came(allowed / 2).await;
    first.abort_all();
    let _third = eager_worker(&db, &settings);
    came(allowed * 6 / 5).await;
    let came = teacher.see(|seen| seen.came.clone());
    let within =
        |first: usize| came[first..].iter().take_while(|at| **at < came[first] + Duration::from_secs(10)).count();
    let most = (0..came.len()).map(within).max().unwrap();
    assert!(most * 20 <= allowed * 21, "{most} calls in ten seconds, {allowed} are allowed");
}
