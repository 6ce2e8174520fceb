//! What a job reads of its parents: held from the moment that the job is there, whoever comes first.

use serde_json::json;
use stepwise::{
    domain::{File, FileId, JobId, Lease, TrainingSource},
    store::{DeletedFile, Deletion, NewJob, Store, StoreError},
};

use crate::support::{
    database::TestDatabase,
    latch::Latch,
    seed::{annotation_of, distillation_of, new_file, new_job, new_model},
};

/// A distillation of what an annotation leaves.
fn child_of(parent: JobId) -> NewJob {
    new_job(distillation_of(TrainingSource::AnnotationJob(parent)))
}

async fn end(store: Store, lease: Lease, output: File) -> Result<(), StoreError> {
    store.finish_with_files(lease, &json!({"output_file": output.id}), &[&output]).await
}

async fn annotated(db: &TestDatabase) -> (JobId, FileId) {
    let (parent, lease) = db.running_job().await;
    let output = new_file();
    end(db.store.clone(), lease, output.clone()).await.unwrap();
    (parent.id, output.id)
}

async fn delete(db: &TestDatabase, file: FileId) -> DeletedFile {
    db.store.delete_file(Store::default_project(), file).await.unwrap()
}

/// Starts to create a job; it waits at the latch when this returns.
async fn creating(
    db: &TestDatabase,
    latch: &Latch,
    new: &NewJob,
) -> tokio::task::JoinHandle<Result<stepwise::domain::Job, StoreError>> {
    let (store, new) = (db.store.clone(), new.clone());
    let creating = tokio::spawn(async move { store.create_job(&new).await });
    latch.until_waiting(1).await;
    creating
}

#[tokio::test]
async fn an_output_that_is_deleted_while_a_job_is_made_of_it_stays() {
    let db = TestDatabase::new().await;
    let (parent, output) = annotated(&db).await;
    let mut latch = Latch::close(&db.pool, "job_dependencies", "true").await;
    let child = child_of(parent);
    let creating = creating(&db, &latch, &child).await;
    let store = db.store.clone();
    let deleting = tokio::spawn(async move { store.delete_file(Store::default_project(), output).await });
    while !deleting.is_finished() && latch.waiting().await < 2 {}
    latch.open().await;
    creating.await.unwrap().unwrap();
    assert_eq!(deleting.await.unwrap().unwrap(), DeletedFile::InUse(child.id));
}

#[tokio::test]
async fn a_job_that_is_made_while_its_parent_ends_keeps_the_output() {
    let db = TestDatabase::new().await;
    let (parent, lease) = db.running_job().await;
    let mut latch = Latch::close(&db.pool, "job_dependencies", "true").await;
    let (child, output) = (child_of(parent.id), new_file());
    let creating = creating(&db, &latch, &child).await;
    let ending = tokio::spawn(end(db.store.clone(), lease, output.clone()));
    while !ending.is_finished() && latch.waiting().await < 2 {}
    latch.open().await;
    creating.await.unwrap().unwrap();
    ending.await.unwrap().unwrap();
    assert_eq!(delete(&db, output.id).await, DeletedFile::InUse(child.id));
}

#[tokio::test]
async fn a_job_that_is_made_while_its_parent_ends_keeps_the_model() {
    let db = TestDatabase::new().await;
    let file = db.file().await;
    let parent = db.store.create_job(&new_job(distillation_of(TrainingSource::File(file.id)))).await.unwrap();
    let (_, lease) = db.claim().await.unwrap();
    let mut latch = Latch::close(&db.pool, "job_dependencies", "true").await;
    let child = NewJob { depends_on: vec![parent.id], ..new_job(annotation_of(file.id)) };
    let creating = creating(&db, &latch, &child).await;
    let (store, model) = (db.store.clone(), new_model("desk", parent.id));
    let id = model.id;
    let ending = tokio::spawn(async move { store.finish_distillation(lease, &json!({}), &model, &[], &[]).await });
    while !ending.is_finished() && latch.waiting().await < 2 {}
    latch.open().await;
    creating.await.unwrap().unwrap();
    ending.await.unwrap().unwrap();
    let deleted = db.store.delete_model(Store::default_project(), id).await.unwrap();
    assert_eq!(deleted, Deletion::InUse(child.id));
}

#[tokio::test]
async fn a_job_is_not_made_of_an_output_that_is_gone() {
    let db = TestDatabase::new().await;
    let (parent, output) = annotated(&db).await;
    assert!(matches!(delete(&db, output).await, DeletedFile::Deleted(_)));
    let refused = db.store.create_job(&child_of(parent)).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Missing { id, .. } if *id == parent.to_string()), "{refused:?}");
    // Whoever only comes after it, or asks for its answers, does not need the file.
    let after = NewJob { depends_on: vec![parent], ..new_job(annotation_of(db.file().await.id)) };
    db.store.create_job(&after).await.unwrap();
}
