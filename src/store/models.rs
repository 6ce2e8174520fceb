//! Registered models. They enter by `queue::finish_distillation` and leave by `model_removal`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Page, Store, StoreError, one_more, rows::Place};
use crate::domain::{JobId, Model, ModelId, ProjectId};

/// A model beside another one in its lineage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relative {
    /// Its id.
    pub id: ModelId,
    /// Its name while it had one.
    pub name: String,
    /// The job that made it.
    pub job_id: JobId,
    /// Whether it was deleted.
    pub deleted: bool,
}

impl Store {
    /// A model by its name, by an alias that points to it, or by its id.
    pub async fn model(&self, project: ProjectId, name_or_id: &str) -> Result<Option<Model>, StoreError> {
        let row = sqlx::query_as!(
            ModelRow,
            r#"-- model
            select id, project_id, name, base, base_model_id, job_id, lineage, task, metrics, artifact_prefix, manifest_sha256, bytes,
                created_at
            from models
            where project_id = $1 and deleted_at is null
                and id = coalesce($3, (select model_id from model_names where project_id = $1 and name = $2))"#,
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
            select id, project_id, name, base, base_model_id, job_id, lineage, task, metrics, artifact_prefix, manifest_sha256, bytes,
                created_at
            from models
            where project_id = $1 and job_id = $2 and deleted_at is null"#,
            project.0,
            id.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(Model::try_from).transpose()
    }

    /// The models that a model was trained from, nearest first: each with the instant of its deletion, if any. Rows of
    /// deleted models stay, so the chain never breaks; it ends at a folder or at a student from scratch.
    pub async fn ancestors(&self, id: ModelId) -> Result<Vec<Relative>, StoreError> {
        let rows = sqlx::query!(
            r#"-- ancestors
            with recursive line as (
                select base_model_id as id, 1 as distance from models where id = $1
                union all
                select m.base_model_id, line.distance + 1 from line join models m on m.id = line.id
                where line.distance < 100
            )
            select m.id, m.name, m.job_id, m.deleted_at is not null as "deleted!"
            from line join models m on m.id = line.id
            order by line.distance"#,
            id.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let relative = |id, name, job, deleted| Relative { id: ModelId(id), name, job_id: JobId(job), deleted };
        Ok(rows.into_iter().map(|row| relative(row.id, row.name, row.job_id, row.deleted)).collect())
    }

    /// A model as others see it in their lineage, even when it was deleted.
    pub async fn relative(&self, id: ModelId) -> Result<Option<Relative>, StoreError> {
        let row = sqlx::query!(
            r#"-- relative
            select name, job_id, deleted_at is not null as "deleted!" from models where id = $1"#,
            id.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| Relative { id, name: row.name, job_id: JobId(row.job_id), deleted: row.deleted }))
    }

    /// The newest models that were trained from a model, at most so many, deleted ones among them.
    pub async fn children(&self, id: ModelId, limit: u32) -> Result<Vec<Relative>, StoreError> {
        let rows = sqlx::query!(
            r#"-- children
            select id, name, job_id, deleted_at is not null as "deleted!"
            from models
            where base_model_id = $1
            order by id desc
            limit $2"#,
            id.0,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let relative = |id, name, job, deleted| Relative { id: ModelId(id), name, job_id: JobId(job), deleted };
        Ok(rows.into_iter().map(|row| relative(row.id, row.name, row.job_id, row.deleted)).collect())
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
            select id, project_id, name, base, base_model_id, job_id, lineage, task, metrics, artifact_prefix, manifest_sha256, bytes,
                created_at
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
}

pub(super) fn model_id(name_or_id: &str) -> Option<Uuid> {
    name_or_id.parse().ok().map(|id: ModelId| id.0)
}

pub(super) struct ModelRow {
    pub id: Uuid,
    pub project_id: Uuid,
    pub name: String,
    pub base: String,
    pub base_model_id: Option<Uuid>,
    pub job_id: Uuid,
    pub lineage: Option<Value>,
    pub task: Value,
    pub metrics: Value,
    pub artifact_prefix: String,
    pub manifest_sha256: String,
    pub bytes: i64,
    pub created_at: DateTime<Utc>,
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
            base_model_id: row.base_model_id.map(ModelId),
            job_id: JobId(row.job_id),
            lineage: row.lineage.map(|lineage| at.json("lineage", lineage)).transpose()?,
            task: at.json("task", row.task)?,
            metrics: at.json("metrics", row.metrics)?,
            artifact_prefix: row.artifact_prefix,
            manifest_sha256: row.manifest_sha256,
            bytes: row.bytes,
            created_at: row.created_at,
        })
    }
}
