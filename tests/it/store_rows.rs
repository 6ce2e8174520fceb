//! Files, lists, events, metrics, annotations and models: what goes in comes out.

use std::collections::BTreeMap;

use serde_json::json;
use stepwise::{
    domain::{
        Annotation, AnnotationStatus, EvaluationSpec, JobId, JobKind, JobSpec, JobState, JobWarning, Purpose,
        RationaleFault, Split, TaskDefinition, TrainingSource, Validating,
    },
    store::{DeletedFile, Deletion, EventLevel, FileFilter, JobFilter, NewEvent, RemovedFile, Store, StoreError},
};

use crate::support::{
    database::TestDatabase,
    seed::{annotation_of, distillation_of, new_file, new_job, new_model, settle},
};

#[tokio::test]
async fn files_are_listed_in_both_directions() {
    let db = TestDatabase::new().await;
    let project = Store::default_project();
    let mut files = Vec::new();
    for purpose in [Purpose::FineTune, Purpose::Evals, Purpose::FineTune] {
        let mut file = new_file();
        file.purpose = purpose;
        let stored = db.store.insert_file(&file, None).await.unwrap();
        assert_eq!(stored, stepwise::domain::File { created_at: stored.created_at, ..file });
        files.push(stored);
    }
    assert_eq!(db.store.file(project, files[1].id).await.unwrap().as_ref(), Some(&files[1]));

    let newest = FileFilter { limit: 2, ..FileFilter::default() };
    let page = db.store.list_files(project, &newest).await.unwrap();
    assert_eq!((page.items, page.has_more), (vec![files[2].clone(), files[1].clone()], true));
    let rest = FileFilter { after: Some(files[1].id), ..newest };
    let page = db.store.list_files(project, &rest).await.unwrap();
    assert_eq!((page.items, page.has_more), (vec![files[0].clone()], false));
    let oldest = FileFilter { ascending: true, after: Some(files[0].id), purpose: Some(Purpose::FineTune), limit: 5 };
    let page = db.store.list_files(project, &oldest).await.unwrap();
    assert_eq!((page.items, page.has_more), (vec![files[2].clone()], false));
}

#[tokio::test]
async fn a_file_that_an_unfinished_job_reads_is_not_deleted() {
    let db = TestDatabase::new().await;
    let project = Store::default_project();
    let file = db.file().await;
    let job = db.store.create_job(&new_job(annotation_of(file.id))).await.unwrap();
    assert_eq!(db.store.delete_file(project, file.id).await.unwrap(), DeletedFile::InUse(job.id));
    db.store.cancel_job(project, job.id).await.unwrap();
    let deleted = db.store.delete_file(project, file.id).await.unwrap();
    assert_eq!(deleted, DeletedFile::Deleted(RemovedFile { id: file.id, artifact_key: file.artifact_key.clone() }));
    assert_eq!(db.store.delete_file(project, file.id).await.unwrap(), DeletedFile::NotFound);
    assert_eq!(db.store.file(project, file.id).await.unwrap(), None);
    assert_eq!(
        db.store.list_files(project, &FileFilter { limit: 9, ..FileFilter::default() }).await.unwrap().items,
        []
    );
    let refused = db.store.create_job(&new_job(annotation_of(file.id))).await.unwrap_err();
    assert!(matches!(refused, StoreError::Missing { what: "file", .. }), "{refused:?}");
    assert_eq!(db.read(job.id).await.state, JobState::Cancelled, "the job that named it is still there");
}

#[tokio::test]
async fn every_kind_of_job_holds_on_to_every_file_it_reads_until_it_is_over() {
    let db = TestDatabase::new().await;
    let project = Store::default_project();
    for state in [JobState::Queued, JobState::Running, JobState::Paused] {
        let [one, two, three, four, five] =
            [db.file().await, db.file().await, db.file().await, db.file().await, db.file().await];
        let JobSpec::Distillation(mut distillation) = distillation_of(TrainingSource::File(two.id)) else { panic!() };
        distillation.validation = Validating::File(three.id);
        distillation.test = Some(four.id);
        let evaluation = EvaluationSpec {
            file: five.id,
            models: vec!["tiny".to_owned()],
            targets: BTreeMap::new(),
            teacher: None,
            task: TaskDefinition::default(),
            max_examples: None,
        };
        let jobs = [
            (annotation_of(one.id), vec![one.id]),
            (JobSpec::Distillation(distillation), vec![two.id, three.id, four.id]),
            (JobSpec::Evaluation(evaluation), vec![five.id]),
        ];
        for (spec, files) in jobs {
            let job = db.store.create_job(&new_job(spec)).await.unwrap().id;
            match state {
                JobState::Running => assert_eq!(db.claim().await.unwrap().0.id, job),
                JobState::Paused => db.set(job, "state = 'paused', pause_reason = 'user'").await,
                _ => {}
            }
            for file in &files {
                assert_eq!(db.store.delete_file(project, *file).await.unwrap(), DeletedFile::InUse(job), "{state}");
            }
            let over = "state = 'cancelled', cancel_requested_at = now(), finished_at = now(), pause_reason = null,
                lease_owner = null, lease_expires_at = null";
            db.set(job, over).await;
            for file in files {
                let deleted = db.store.delete_file(project, file).await.unwrap();
                assert!(matches!(deleted, DeletedFile::Deleted(_)), "{state}");
            }
        }
    }
}

#[tokio::test]
async fn a_worker_warns_once_and_only_while_it_holds_the_job() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    let warning = |shared: u64| JobWarning {
        code: "rows_shared".to_owned(),
        message: format!("{shared} inputs"),
        data: serde_json::Map::from_iter([("shared_inputs".to_owned(), json!(shared))]),
    };
    for shared in [3, 3, 4] {
        db.store.warn(lease, &warning(shared)).await.unwrap();
    }
    assert_eq!(db.read(job.id).await.warnings, [warning(3), warning(4)]);
    let warned = db.event_codes(job.id).await.into_iter().filter(|code| code == "rows_shared").count();
    assert_eq!(warned, 2);
    let lost = stepwise::domain::Lease { epoch: lease.epoch + 1, ..lease };
    assert!(matches!(db.store.warn(lost, &warning(5)).await, Err(StoreError::LeaseLost(_))));
}

#[tokio::test]
async fn a_validation_from_before_statistics_is_still_read() {
    let db = TestDatabase::new().await;
    let file = db.file().await;
    let older = json!({"rows": 1, "valid_rows": 1, "labeled_rows": 0, "teacher_labeled_rows": 0, "rationale_rows": 0,
        "errors": [], "errors_truncated": false});
    sqlx::query("update files set validation = $2 where id = $1")
        .bind(file.id.0)
        .bind(older)
        .execute(&db.pool)
        .await
        .unwrap();
    let read = db.store.file(Store::default_project(), file.id).await.unwrap().unwrap();
    assert_eq!((read.validation.rows, read.validation.statistics), (1, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_either_deleted_or_read_never_both() {
    let db = TestDatabase::new().await;
    for _ in 0..20 {
        let file = db.file().await;
        let new = new_job(annotation_of(file.id));
        let (created, deleted) =
            tokio::join!(db.store.create_job(&new), db.store.delete_file(Store::default_project(), file.id));
        assert_ne!(created.is_ok(), matches!(deleted.unwrap(), DeletedFile::Deleted(_)));
    }
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_no_open_transaction() {
    let db = TestDatabase::new().await;
    let file = db.file().await;
    for microseconds in (0..40).map(|step| step * 100) {
        let call = db.store.delete_file(Store::default_project(), file.id);
        let _ = tokio::time::timeout(std::time::Duration::from_micros(microseconds), call).await;
    }
    // The calls go on by themselves and end; one that was left open would stay so.
    let open = "select count(*) from pg_stat_activity
        where datname = current_database() and state like 'idle in transaction%'";
    let mut left = i64::MAX;
    for _ in 0..100 {
        left = sqlx::query_scalar(open).fetch_one(&db.pool).await.unwrap();
        if left == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(left, 0);
    db.store.ping().await.unwrap();
}

#[tokio::test]
async fn jobs_are_listed_newest_first_and_counted() {
    let db = TestDatabase::new().await;
    let project = Store::default_project();
    let file = db.file().await;
    let mut ids: Vec<JobId> = Vec::new();
    for spec in [annotation_of(file.id), distillation_of(TrainingSource::File(file.id)), annotation_of(file.id)] {
        ids.push(db.store.create_job(&new_job(spec)).await.unwrap().id);
    }
    db.store.cancel_job(project, ids[0]).await.unwrap();
    let list = async |filter: JobFilter| {
        let page = db.store.list_jobs(project, &filter).await.unwrap();
        (page.items.into_iter().map(|job| job.id).collect::<Vec<_>>(), page.has_more)
    };
    let all = JobFilter { limit: 2, ..JobFilter::default() };
    assert_eq!(list(all.clone()).await, (vec![ids[2], ids[1]], true));
    assert_eq!(list(JobFilter { after: Some(ids[1]), ..all.clone() }).await, (vec![ids[0]], false));
    assert_eq!(list(JobFilter { kind: Some(JobKind::Annotation), ..all.clone() }).await, (vec![ids[2], ids[0]], false));
    assert_eq!(list(JobFilter { state: Some(JobState::Cancelled), ..all }).await, (vec![ids[0]], false));
    let counts = db.store.job_counts().await.unwrap();
    assert_eq!(
        counts,
        [
            (JobKind::Annotation, JobState::Cancelled, 1),
            (JobKind::Annotation, JobState::Queued, 1),
            (JobKind::Distillation, JobState::Queued, 1)
        ]
    );
}

#[tokio::test]
async fn events_are_listed_oldest_first() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    let event = NewEvent {
        level: EventLevel::Warn,
        code: "rows_dropped".into(),
        message: "3 rows have no label".into(),
        data: json!({"rows": 3}),
    };
    db.store.append_event(lease, &event).await.unwrap();
    db.store.append_event(lease, &event).await.unwrap();
    let page = db.store.list_events(job.id, None, 3).await.unwrap();
    assert!(page.has_more);
    let last = &page.items[2];
    assert_eq!((last.level, last.code.as_str(), &last.data), (EventLevel::Warn, "rows_dropped", &json!({"rows": 3})));
    assert_eq!(db.store.list_events(job.id, Some(last.id), 3).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn metrics_are_listed_as_they_were_written_and_a_repeated_step_overwrites() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    let figures =
        |loss: f64| BTreeMap::from([("loss".to_owned(), loss), ("a".to_owned(), 1.0), ("z".to_owned(), f64::NAN)]);
    let read = async |name, after: Option<i64>, limit| {
        let page = db.store.list_metrics(job.id, name, after, limit).await.unwrap();
        let shown: Vec<_> = page.items.iter().map(|it| format!("{}:{} {}", it.step, it.name, it.value)).collect();
        (shown.join(", "), page.items.last().map(|it| it.id), page.has_more)
    };
    for (step, loss) in [(1, 0.9), (2, 0.5)] {
        db.store.append_metrics(lease, step, &figures(loss)).await.unwrap();
    }
    let (shown, last, more) = read(None, None, 3).await;
    assert_eq!((shown.as_str(), more), ("1:a 1, 1:loss 0.9, 2:a 1", true));
    assert_eq!(read(None, last, 3).await.0, "2:loss 0.5");
    assert_eq!(read(Some("loss"), None, 3).await.0, "1:loss 0.9, 2:loss 0.5");

    let (_, last, _) = read(None, None, 9).await;
    db.store.append_metrics(lease, 1, &figures(0.8)).await.unwrap();
    assert_eq!(read(None, last, 9).await.0, "1:a 1, 1:loss 0.8", "what is written anew is new to a follower");
    assert_eq!(read(None, None, 9).await.0, "2:a 1, 2:loss 0.5, 1:a 1, 1:loss 0.8");
}

#[tokio::test]
async fn a_settled_answer_stays_and_is_counted() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    let valid = Annotation {
        example_index: 0,
        example_id: "line-1".into(),
        input: "is it?".into(),
        split: Some(Split::Test),
        label: Some("yes".into()),
        status: AnnotationStatus::Valid,
        reason: None,
        teacher_label: Some("no".into()),
        rationale: Some("because".into()),
        raw_output: Some("because. so no".into()),
        input_tokens: 10,
        output_tokens: 4,
        latency_ms: 20,
        samples: 3,
        agreement: Some(2.0 / 3.0),
        more_rationales: vec!["and so".into(), "too".into()],
        rationale_faults: Some(vec![RationaleFault::RepeatsItself, RationaleFault::EmptyOfLabel]),
        rationale_fingerprint: Some(-7),
        repaired: true,
        rationalized: true,
    };
    let invalid = Annotation {
        example_index: 3,
        label: None,
        status: AnnotationStatus::Invalid,
        teacher_label: None,
        reason: Some("no label".into()),
        agreement: None,
        rationalized: false,
        ..valid.clone()
    };
    settle(&db.store, lease, &valid).await.unwrap();
    settle(&db.store, lease, &invalid).await.unwrap();
    settle(&db.store, lease, &Annotation { teacher_label: Some("maybe".into()), ..valid.clone() }).await.unwrap();

    assert_eq!(db.store.past_calls(job.id, 0, 3).await.unwrap().settled, [0, 3].into());
    let page = db.store.list_annotations(job.id, &[], None, 10).await.unwrap();
    assert_eq!(page.items, [valid.clone(), invalid.clone()]);
    let page = db.store.list_annotations(job.id, &[AnnotationStatus::Invalid], None, 10).await.unwrap();
    assert_eq!(page.items, [invalid]);
    assert_eq!(db.store.list_annotations(job.id, &[], Some(0), 10).await.unwrap().items.len(), 1);
    let sums = db.store.annotation_sums(job.id).await.unwrap();
    assert_eq!((sums.settled(), sums.of(AnnotationStatus::Valid), sums.of(AnnotationStatus::Refused)), (2, 1, 0));
}

#[tokio::test]
async fn a_nul_in_an_answer_is_no_reason_to_lose_it() {
    let db = TestDatabase::new().await;
    let (job, lease) = db.running_job().await;
    let answer = Annotation {
        example_index: 0,
        example_id: "line-1".into(),
        input: "is it?".into(),
        split: None,
        label: None,
        status: AnnotationStatus::Invalid,
        reason: Some("no label".into()),
        teacher_label: None,
        rationale: None,
        raw_output: Some("ye\0s".into()),
        input_tokens: 0,
        output_tokens: 0,
        latency_ms: 0,
        ..Annotation::default()
    };
    settle(&db.store, lease, &answer).await.unwrap();
    let page = db.store.list_annotations(job.id, &[], None, 10).await.unwrap();
    assert_eq!(page.items[0].raw_output.as_deref(), Some("ye\u{FFFD}s"));
    db.store.finish(lease, &json!({"note": "\0"})).await.unwrap();
    assert_eq!(db.read(job.id).await.result, Some(json!({"note": "\u{FFFD}"})));
}

#[tokio::test]
async fn a_deleted_model_frees_its_name() {
    let db = TestDatabase::new().await;
    let project = Store::default_project();
    let file = db.file().await;
    let make = async || {
        let job = new_job(distillation_of(TrainingSource::File(file.id)));
        let job = db.store.create_job(&job).await.unwrap();
        let (_, lease) = db.claim().await.unwrap();
        db.store.finish_distillation(lease, &json!({}), &new_model("returns", job.id), &[], &[]).await.unwrap()
    };
    let first = make().await;
    assert_eq!(db.store.model(project, "returns").await.unwrap().as_ref(), Some(&first));
    assert_eq!(db.store.model(project, &first.id.to_string()).await.unwrap().as_ref(), Some(&first));
    let deleted = db.store.delete_model(project, first.id).await.unwrap();
    assert_eq!(deleted, Deletion::Deleted(first.clone()));
    assert_eq!(db.store.delete_model(project, first.id).await.unwrap(), Deletion::NotFound);
    assert_eq!(db.store.model(project, "returns").await.unwrap(), None);
    let second = make().await;
    let third = make().await;
    assert_eq!((second.name.as_str(), third.name.as_str()), ("returns", "returns-2"));
    let page = db.store.list_models(project, None, 1).await.unwrap();
    assert_eq!((page.items, page.has_more), (vec![third.clone()], true));
    assert_eq!(db.store.list_models(project, Some(third.id), 5).await.unwrap().items, [second]);
}

#[tokio::test]
async fn every_table_and_column_is_explained() {
    let db = TestDatabase::new().await;
    let silent = "select c.relname || coalesce('.' || a.attname, '')
        from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and c.relname <> '_sqlx_migrations'
            and (col_description(c.oid, a.attnum) is null or obj_description(c.oid, 'pg_class') is null)";
    assert_eq!(sqlx::query_scalar::<_, String>(silent).fetch_all(&db.pool).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn every_row_belongs_to_a_project() {
    let db = TestDatabase::new().await;
    let without = "select c.relname::text from pg_class c
        where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
            and c.relname not in ('_sqlx_migrations', 'projects')
            and not exists (select from pg_attribute a
                where a.attrelid = c.oid and a.attname = 'project_id' and a.attnotnull)";
    assert_eq!(sqlx::query_scalar::<_, String>(without).fetch_all(&db.pool).await.unwrap(), Vec::<String>::new());
}
