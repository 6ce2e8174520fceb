//! Published checkpoints by name. They are registered by `queue::finish_distillation`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Page, Store, StoreError, one_more, rows::Place};
use crate::domain::{JobId, Model, ModelId, ProjectId};

impl Store {
    /// A model by its name or by its id.
    pub async fn model(&self, project: ProjectId, name_or_id: &str) -> Result<Option<Model>, StoreError> {
        let row = sqlx::query_as!(
            ModelRow,
            r#"-- model
            select id, project_id, name, base, job_id, task, metrics, artifact_prefix, manifest_sha256, bytes, created_at
            from models
            where project_id = $1 and deleted_at is null and (id = $3 or name = $2)
            order by id = $3 desc nulls last
            limit 1"#,
            project.0,
            name_or_id,
            model_id(name_or_id),
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(Model::try_from).transpose()
    }

    /// The model that a distillation made.
    pub async fn model_of_job(&self, project: ProjectId, id: JobId) -> Result<Option<Model>, StoreError> {
        let row = sqlx::query_as!(
            ModelRow,
            r#"-- model_of_job
            select id, project_id, name, base, job_id, task, metrics, artifact_prefix, manifest_sha256, bytes, created_at
            from models
            where project_id = $1 and job_id = $2 and deleted_at is null"#,
            project.0,
            id.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(Model::try_from).transpose()
    }

    /// Models of a project, newest first, older than the one of that id.
    pub async fn list_models(
        &self,
        project: ProjectId,
        after: Option<ModelId>,
        limit: u32,
    ) -> Result<Page<Model>, StoreError> {
        let rows = sqlx::query_as!(
            ModelRow,
            r#"-- list_models
            select id, project_id, name, base, job_id, task, metrics, artifact_prefix, manifest_sha256, bytes, created_at
            from models
            where project_id = $1 and deleted_at is null and ($2::uuid is null or id < $2)
            order by id desc
            limit $3"#,
            project.0,
            after.map(|id| id.0),
            one_more(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let models = rows.into_iter().map(Model::try_from).collect::<Result<_, _>>()?;
        Ok(Page::cut(models, limit))
    }

    /// Takes a model away by its name or id; its name becomes free. Returns what was taken away. The files stay: they
    /// are the caller's.
    pub async fn delete_model(&self, project: ProjectId, name_or_id: &str) -> Result<Option<Model>, StoreError> {
        let row = sqlx::query_as!(
            ModelRow,
            r#"-- delete_model
            update models
            set deleted_at = clock_timestamp()
            where project_id = $1 and deleted_at is null and (id = $3 or (name = $2 and $3 is null))
            returning id, project_id, name, base, job_id, task, metrics, artifact_prefix, manifest_sha256, bytes, created_at"#,
            project.0,
            name_or_id,
            model_id(name_or_id),
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(Model::try_from).transpose()
    }
}

fn model_id(name_or_id: &str) -> Option<Uuid> {
    name_or_id.parse().ok().map(|id: ModelId| id.0)
}

struct ModelRow {
    id: Uuid,
    project_id: Uuid,
    name: String,
    base: String,
    job_id: Uuid,
    task: Value,
    metrics: Value,
    artifact_prefix: String,
    manifest_sha256: String,
    bytes: i64,
    created_at: DateTime<Utc>,
}

impl TryFrom<ModelRow> for Model {
    type Error = StoreError;

    fn try_from(row: ModelRow) -> Result<Self, StoreError> {
        let at = Place { table: "models", id: &ModelId(row.id) };
        Ok(Self {
            id: ModelId(row.id),
            project_id: ProjectId(row.project_id),
            name: row.name,
            base: row.base,
            job_id: JobId(row.job_id),
            task: at.json("task", row.task)?,
            metrics: at.json("metrics", row.metrics)?,
            artifact_prefix: row.artifact_prefix,
            manifest_sha256: row.manifest_sha256,
            bytes: row.bytes,
            created_at: row.created_at,
        })
    }
}
