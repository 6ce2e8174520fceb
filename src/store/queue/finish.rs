//! Ending a job with a result, and what the result consists of, at once.
//!
//! A job that leaves files or a model ends in a transaction that locks its row first: a statement sees what was committed before it began, and
//! a job that was made to wait for this one in that moment must find the reference to them (`store::job_creation`).

use serde_json::Value;
use sqlx::{PgPool, PgTransaction};
use uuid::Uuid;

use crate::{
    domain::{File, Lease, Model},
    store::{Store, StoreError, result_files, storable},
};

impl Store {
    /// Ends the job with its result. A cancel or a pause that was asked for and not yet acknowledged loses against it.
    pub async fn finish(&self, lease: Lease, result: &Value) -> Result<(), StoreError> {
        let finished = sqlx::query_scalar!(
            r#"-- finish
            with moved as (
                update jobs
                set state = 'succeeded', result = $3, error = null, finished_at = clock_timestamp(),
                    lease_owner = null, lease_expires_at = null, pause_requested_at = null
                where id = $1 and lease_epoch = $2 and state = 'running'
                returning id, project_id
            ), event as (
                insert into job_events (job_id, project_id, level, code, message)
                select id, project_id, 'info', 'succeeded', 'done' from moved
            )
            select id as "id!" from moved"#,
            lease.job_id.0,
            lease.epoch,
            storable::json(result),
        )
        .fetch_optional(&self.pool)
        .await?;
        finished.map(drop).ok_or(StoreError::LeaseLost(lease))
    }

    /// Ends a job that leaves files: those and its result, or nothing. Jobs that wait for it read them, so they cannot be
    /// deleted before those are done.
    pub async fn finish_with_files(&self, lease: Lease, result: &Value, files: &[&File]) -> Result<(), StoreError> {
        let files = result_files::as_json(files);
        // A task of its own, so that a caller who goes away leaves no connection inside a transaction.
        let finished = tokio::spawn(finish_with_files(self.pool.clone(), lease, result.clone(), files)).await;
        finished.map_err(StoreError::Abandoned)?
    }

    /// Ends a distillation: its model, its files and its result, or nothing. A name that is a model's, an alias's or among `taken`
    /// (folders of the caller) gets the first free suffix `-2`, `-3`, …; the result's `model` follows it. Jobs that wait
    /// for this one may ask for its model, which therefore cannot be deleted before they are done. Returns the model as
    /// registered.
    pub async fn finish_distillation(
        &self,
        lease: Lease,
        result: &Value,
        model: &Model,
        files: &[&File],
        taken: &[String],
    ) -> Result<Model, StoreError> {
        let files = result_files::as_json(files);
        loop {
            let left = (model.clone(), files.clone());
            let attempt = finish_distillation(self.pool.clone(), lease, result.clone(), left, taken.to_vec());
            match tokio::spawn(attempt).await.map_err(StoreError::Abandoned)? {
                // Somebody took the name while the statement ran: the next try sees it.
                Err(StoreError::Conflict { constraint })
                    if ["models_by_name", "model_names_pkey"].contains(&constraint.as_str()) => {}
                done => return done,
            }
        }
    }
}

/// A transaction that holds the row of a running job.
async fn lock(pool: &PgPool, lease: Lease) -> Result<PgTransaction<'static>, StoreError> {
    let mut transaction = pool.begin().await?;
    let held = sqlx::query_scalar!(
        r#"-- finish: lock
        select id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for no key update"#,
        lease.job_id.0,
        lease.epoch,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    held.map(|_| transaction).ok_or(StoreError::LeaseLost(lease))
}

async fn finish_with_files(pool: PgPool, lease: Lease, result: Value, files: Value) -> Result<(), StoreError> {
    let mut transaction = lock(&pool, lease).await?;
    let finished = sqlx::query_scalar!(
        r#"-- finish_with_files
        with moved as (
            update jobs
            set state = 'succeeded', result = $3, error = null, finished_at = clock_timestamp(),
                lease_owner = null, lease_expires_at = null, pause_requested_at = null
            where id = $1 and lease_epoch = $2 and state = 'running'
            returning id, project_id
        ), event as (
            insert into job_events (job_id, project_id, level, code, message)
            select id, project_id, 'info', 'succeeded', 'done' from moved
        )
        select id as "id!" from moved"#,
        lease.job_id.0,
        lease.epoch,
        storable::json(&result),
    )
    .fetch_optional(&mut *transaction)
    .await?;
    finished.ok_or(StoreError::LeaseLost(lease))?;
    let written = result_files::write(&mut transaction, lease.job_id, &files).await?;
    hold_for_children(&mut transaction, &written).await?;
    Ok(transaction.commit().await?)
}

/// Whoever waits for the job that made the files reads them.
async fn hold_for_children(transaction: &mut PgTransaction<'static>, files: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"-- finish_with_files: hold_for_children
        insert into job_files (job_id, file_id, project_id)
        select child.job_id, file.id, file.project_id
        from files file join job_dependencies child on child.depends_on_id = file.made_by_job_id
        where file.id = any ($1)"#,
        files,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn finish_distillation(
    pool: PgPool,
    lease: Lease,
    result: Value,
    (model, files): (Model, Value),
    taken: Vec<String>,
) -> Result<Model, StoreError> {
    let mut transaction = lock(&pool, lease).await?;
    let registered = sqlx::query!(
        r#"-- finish_distillation
        with holder as materialized (
            select id, project_id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for update
        ), free as (
            select candidate as name
            from holder, generate_series(1, 1000000) as suffix,
                lateral (select case suffix when 1 then $5::text else $5::text || '-' || suffix end as candidate) as named
            where not exists (
                select from model_names n where n.project_id = holder.project_id and n.name = candidate
            ) and candidate <> all($12::text[])
            order by suffix
            limit 1
        ), moved as (
            update jobs j
            set state = 'succeeded', result = jsonb_set($3::jsonb, '{model}', to_jsonb(free.name)), error = null,
                finished_at = clock_timestamp(), lease_owner = null, lease_expires_at = null, pause_requested_at = null
            from holder, free
            where j.id = holder.id
            returning j.id, j.project_id, free.name
        ), event as (
            insert into job_events (job_id, project_id, level, code, message, data)
            select id, project_id, 'info', 'succeeded', 'registered the model ' || name,
                jsonb_build_object('model', name)
            from moved
        ), made as (
            insert into models (id, project_id, name, base, base_model_id, job_id, lineage, task, metrics,
                artifact_prefix, manifest_sha256, bytes)
            select $4, project_id, name, $6, $13, id, $14, $7, $8, $9, $10, $11 from moved
            returning id, project_id, name, job_id, created_at
        ), named as (
            insert into model_names (project_id, name, kind, model_id, target)
            select project_id, name, 'model', id, name from made
        ), uses as (
            insert into job_models (job_id, model_id, project_id)
            select child.job_id, made.id, made.project_id
            from made join job_dependencies child on child.depends_on_id = made.job_id
        )
        select name as "name!", created_at as "created_at!" from made"#,
        lease.job_id.0,
        lease.epoch,
        storable::json(&result),
        model.id.0,
        model.name,
        model.base,
        storable::json(&model.task),
        storable::json(&model.metrics),
        model.artifact_prefix,
        model.manifest_sha256,
        model.bytes,
        &taken,
        model.base_model_id.map(|id| id.0),
        model.lineage.as_ref().map(storable::json),
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let registered = registered.ok_or(StoreError::LeaseLost(lease))?;
    result_files::write(&mut transaction, lease.job_id, &files).await?;
    transaction.commit().await?;
    Ok(Model { name: registered.name, created_at: registered.created_at, job_id: lease.job_id, ..model })
}
