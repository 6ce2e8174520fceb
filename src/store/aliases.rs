//! Aliases: names that can be moved from one model to another. They share a table, and so a primary key, with the
//! models' own names: a name is one or the other, whatever is asked for at the same moment.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Page, Store, StoreError, one_more, rows::Place};
use crate::domain::{Alias, AliasMove, CheckpointId, ModelId, ModelTarget, ProjectId};

/// Moves that are shown of an alias.
const SHOWN_MOVES: i64 = 20;

/// Where an alias shall point.
#[derive(Debug, Clone, PartialEq)]
pub struct SetAlias {
    /// The alias.
    pub name: String,
    /// What it shall point to.
    pub target: ModelTarget,
    /// The name of that.
    pub model: String,
}

/// What became of a request to make or move an alias.
#[derive(Debug, Clone, PartialEq)]
pub enum PutAlias {
    /// There was none of this name.
    Created(Alias),
    /// It points there now; where it pointed there before, nothing has changed.
    Moved(Alias),
    /// The name is a registered model's.
    NameOfModel,
    /// The model or checkpoint is gone.
    TargetGone,
}

/// What became of a request to delete an alias.
#[derive(Debug, Clone, PartialEq)]
pub enum DeletedAlias {
    /// It is gone; it had pointed to the model of this name.
    Deleted(String),
    /// There is no such alias.
    NotFound,
}

impl Store {
    /// Makes an alias or moves it, in one statement: whoever asks for it sees the old target or the new one. Its target is
    /// locked against removal meanwhile.
    pub async fn put_alias(&self, project: ProjectId, new: &SetAlias) -> Result<PutAlias, StoreError> {
        let (model, checkpoint, folder) = match &new.target {
            ModelTarget::Model(id) => (Some(id.0), None, None),
            ModelTarget::Checkpoint(id) => (None, Some(id.0), None),
            ModelTarget::Folder(name) => (None, None, Some(name.as_str())),
            // The API refuses it: an id of the Hub has a revision, which moves as an alias does.
            ModelTarget::Hub(_) => return Ok(PutAlias::TargetGone),
        };
        let row = sqlx::query!(
            r#"-- put_alias
            with model as materialized (
                select id from models where id = $3 and project_id = $1 and deleted_at is null for share
            ), checkpoint as materialized (
                select id from checkpoints where id = $4 and project_id = $1 and deleted_at is null for share
            ), target as (
                select id as model_id, null::uuid as checkpoint_id, null::text as folder from model
                union all
                select null, id, null from checkpoint
                union all
                select null, null, $5::text where $5::text is not null
            ), moment as materialized (
                select clock_timestamp() as now
            ), put as (
                insert into model_names as named (project_id, name, kind, model_id, checkpoint_id, folder, target,
                    created_at, moved_at)
                select $1, $2, 'alias', model_id, checkpoint_id, folder, $6, now, now from target, moment
                on conflict (project_id, name) do update
                set model_id = excluded.model_id, checkpoint_id = excluded.checkpoint_id, folder = excluded.folder,
                    target = excluded.target,
                    previous_target = case named.target when excluded.target then named.previous_target else named.target end,
                    moved_at = case named.target when excluded.target then named.moved_at else excluded.moved_at end
                where named.kind = 'alias'
                returning named.project_id, named.name, named.target, named.previous_target, named.created_at, named.moved_at
            ), written as (
                insert into alias_moves (project_id, alias, from_target, to_target, created_at)
                select project_id, name, previous_target, target, moved_at from put, moment where moved_at = now
            )
            select exists (select from target) as "target_is_there!", put.created_at = moment.now as is_new,
                put.previous_target as previous, put.created_at as "created_at?", put.moved_at as "moved_at?"
            from moment left join put on true"#,
            project.0,
            new.name,
            model,
            checkpoint,
            folder,
            new.model,
        )
        .fetch_one(&self.pool)
        .await?;
        let (Some(created_at), Some(moved_at)) = (row.created_at, row.moved_at) else {
            return Ok(if row.target_is_there { PutAlias::NameOfModel } else { PutAlias::TargetGone });
        };
        let SetAlias { name, target, model } = new.clone();
        let alias = Alias { name, target, model, previous: row.previous, created_at, moved_at };
        Ok(if row.is_new == Some(true) { PutAlias::Created(alias) } else { PutAlias::Moved(alias) })
    }

    /// One alias.
    pub async fn alias(&self, project: ProjectId, name: &str) -> Result<Option<Alias>, StoreError> {
        let row = sqlx::query_as!(
            AliasRow,
            r#"-- alias
            select name, model_id, checkpoint_id, folder, target, previous_target, created_at, moved_at
            from model_names
            where project_id = $1 and name = $2 and kind = 'alias'"#,
            project.0,
            name,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(Alias::try_from).transpose()
    }

    /// Aliases of a project by name, those after the one of that name.
    pub async fn list_aliases(
        &self,
        project: ProjectId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Alias>, StoreError> {
        let rows = sqlx::query_as!(
            AliasRow,
            r#"-- list_aliases
            select name, model_id, checkpoint_id, folder, target, previous_target, created_at, moved_at
            from model_names
            where project_id = $1 and kind = 'alias' and ($2::text is null or name > $2)
            order by name
            limit $3"#,
            project.0,
            after,
            one_more(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let aliases = rows.into_iter().map(Alias::try_from).collect::<Result<_, _>>()?;
        Ok(Page::cut(aliases, limit))
    }

    /// The aliases that point to one of these: with what each points to, sorted by name.
    pub async fn aliases_of(&self, project: ProjectId, targets: &[ModelTarget]) -> Result<Vec<Alias>, StoreError> {
        let (mut models, mut checkpoints, mut folders) = (Vec::new(), Vec::new(), Vec::new());
        for target in targets {
            match target {
                ModelTarget::Model(id) => models.push(id.0),
                ModelTarget::Checkpoint(id) => checkpoints.push(id.0),
                ModelTarget::Folder(name) => folders.push(name.clone()),
                ModelTarget::Hub(_) => {}
            }
        }
        let rows = sqlx::query_as!(
            AliasRow,
            r#"-- aliases_of
            select name, model_id, checkpoint_id, folder, target, previous_target, created_at, moved_at
            from model_names
            where project_id = $1 and kind = 'alias'
                and (model_id = any($2) or checkpoint_id = any($3) or folder = any($4))
            order by name"#,
            project.0,
            &models,
            &checkpoints,
            &folders,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Alias::try_from).collect()
    }

    /// The last moves of an alias, newest first; they outlive it.
    pub async fn alias_moves(&self, project: ProjectId, name: &str) -> Result<Vec<AliasMove>, StoreError> {
        let rows = sqlx::query!(
            r#"-- alias_moves
            select from_target, to_target, created_at
            from alias_moves
            where project_id = $1 and alias = $2
            order by id desc
            limit $3"#,
            project.0,
            name,
            SHOWN_MOVES,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| AliasMove { from: row.from_target, to: row.to_target, at: row.created_at })
            .collect())
    }

    /// Deletes an alias; what it points to stays.
    pub async fn delete_alias(&self, project: ProjectId, name: &str) -> Result<DeletedAlias, StoreError> {
        let target = sqlx::query_scalar!(
            r#"-- delete_alias
            with gone as (
                delete from model_names
                where project_id = $1 and name = $2 and kind = 'alias'
                returning project_id, name, target
            ), written as (
                insert into alias_moves (project_id, alias, from_target, to_target)
                select project_id, name, target, null from gone
            )
            select target as "target!" from gone"#,
            project.0,
            name,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(target.map_or(DeletedAlias::NotFound, DeletedAlias::Deleted))
    }
}

struct AliasRow {
    name: String,
    model_id: Option<Uuid>,
    checkpoint_id: Option<Uuid>,
    folder: Option<String>,
    target: String,
    previous_target: Option<String>,
    created_at: DateTime<Utc>,
    moved_at: DateTime<Utc>,
}

impl TryFrom<AliasRow> for Alias {
    type Error = StoreError;

    fn try_from(row: AliasRow) -> Result<Self, StoreError> {
        let target = match (row.model_id, row.checkpoint_id, row.folder) {
            (Some(id), None, None) => ModelTarget::Model(ModelId(id)),
            (None, Some(id), None) => ModelTarget::Checkpoint(CheckpointId(id)),
            (None, None, Some(folder)) => ModelTarget::Folder(folder),
            _ => {
                let at = Place { table: "model_names", id: &row.name };
                return Err(at.unreadable("folder", "an alias has one target"));
            }
        };
        Ok(Self {
            name: row.name,
            target,
            model: row.target,
            previous: row.previous_target,
            created_at: row.created_at,
            moved_at: row.moved_at,
        })
    }
}
