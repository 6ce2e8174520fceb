//! API keys as rows: made, listed, revoked, looked up. Each making and revoking is written into the audit log by the same
//! statement.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Store, StoreError, interval, rows::Place, storable};
use crate::domain::{ApiKey, KeyDigest, KeyId, KeyText, ProjectId, Scope};

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// The key itself, of which only the digest is stored.
    pub key: KeyText,
    /// Whose rows it reaches.
    pub project: ProjectId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// How long it is good; none: for ever.
    pub lifetime: Option<Duration>,
}

/// What a request's key is held to.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// Of its secret.
    pub digest: KeyDigest,
    /// Whose rows it reaches.
    pub project: ProjectId,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// Whether it is neither revoked nor expired.
    pub is_good: bool,
    /// How long it still is; none: for ever.
    pub remaining: Option<Duration>,
    /// Whether its use was not written down in the last minute.
    pub use_is_news: bool,
}

impl Store {
    /// The project of this name, which is made where there is none.
    pub async fn project_named(&self, name: &str, new_id: ProjectId) -> Result<ProjectId, StoreError> {
        let id = sqlx::query_scalar!(
            r#"-- project_named
            insert into projects (id, name) values ($1, $2)
            on conflict (name) do update set name = excluded.name
            returning id"#,
            new_id.0,
            storable::text(name),
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(ProjectId(id))
    }

    /// Makes a key.
    pub async fn create_api_key(&self, new: &NewApiKey) -> Result<(), StoreError> {
        let scopes: Vec<String> = new.scopes.iter().map(ToString::to_string).collect();
        sqlx::query!(
            r#"-- create_api_key
            with made as (
                insert into api_keys (id, project_id, name, digest, last_four, scopes, expires_at)
                values ($1, $2, $3, $4, $5, $6, clock_timestamp() + $7)
                returning id, project_id
            )
            insert into audit_log (project_id, operation, resource, ended_at)
            select project_id, 'keys create', id, clock_timestamp() from made"#,
            new.key.id.as_str(),
            new.project.0,
            storable::text(&new.name),
            &new.key.digest().0[..],
            new.key.last_four(),
            &scopes,
            new.lifetime.map(interval),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Every key, oldest first, those that are revoked or expired too.
    pub async fn list_api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let rows = sqlx::query_as!(
            ApiKeyRow,
            r#"-- list_api_keys
            select k.id, k.project_id, p.name as project, k.name, k.last_four, k.scopes, k.created_at, k.expires_at,
                k.revoked_at, k.last_used_at, coalesce(k.expires_at <= clock_timestamp(), false) as "is_expired!"
            from api_keys k join projects p on p.id = k.project_id
            order by k.created_at, k.id"#,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(ApiKey::try_from).collect()
    }

    /// Revokes a key; one that is revoked already stays so. False: there is no such key.
    pub async fn revoke_api_key(&self, id: &KeyId) -> Result<bool, StoreError> {
        let found = sqlx::query_scalar!(
            r#"-- revoke_api_key
            with found as materialized (
                select id, project_id, revoked_at from api_keys where id = $1 for update
            ), revoked as (
                update api_keys k set revoked_at = clock_timestamp()
                from found where k.id = found.id and found.revoked_at is null
                returning k.id, k.project_id
            ), written as (
                insert into audit_log (project_id, operation, resource, ended_at)
                select project_id, 'keys revoke', id, clock_timestamp() from revoked
            )
            select id from found"#,
            id.as_str(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.is_some())
    }

    /// Whether a key was ever made. Rows of keys stay, so that revoking the last one opens nothing.
    pub async fn has_api_keys(&self) -> Result<bool, StoreError> {
        let found = sqlx::query_scalar!(
            r#"-- has_api_keys
            select exists (select from api_keys) as "found!""#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(found)
    }

    /// What the key of this id is held to.
    pub async fn stored_key(&self, id: &KeyId) -> Result<Option<StoredKey>, StoreError> {
        let row = sqlx::query!(
            r#"-- stored_key
            select digest, project_id, scopes,
                revoked_at is null and (expires_at is null or expires_at > clock_timestamp()) as "is_good!",
                extract(epoch from expires_at - clock_timestamp())::double precision as remaining,
                last_used_at is null or last_used_at < clock_timestamp() - interval '1 minute' as "use_is_news!"
            from api_keys
            where id = $1"#,
            id.as_str(),
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let at = Place { table: "api_keys", id };
        let digest = row.digest.try_into().map_err(|_| at.unreadable("digest", "it has not 32 bytes"))?;
        let remaining = row.remaining.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        Ok(Some(StoredKey {
            digest: KeyDigest(digest),
            project: ProjectId(row.project_id),
            scopes: scopes(&at, &row.scopes)?,
            is_good: row.is_good,
            remaining,
            use_is_news: row.use_is_news,
        }))
    }

    /// Writes down that a key was used just now.
    pub async fn note_key_use(&self, id: &KeyId) -> Result<(), StoreError> {
        sqlx::query!(
            r#"-- note_key_use
            update api_keys set last_used_at = clock_timestamp() where id = $1"#,
            id.as_str(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

struct ApiKeyRow {
    id: String,
    project_id: Uuid,
    project: String,
    name: String,
    last_four: String,
    scopes: Vec<String>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    is_expired: bool,
}

impl TryFrom<ApiKeyRow> for ApiKey {
    type Error = StoreError;

    fn try_from(row: ApiKeyRow) -> Result<Self, StoreError> {
        let at = Place { table: "api_keys", id: &row.id };
        Ok(Self {
            id: at.name("id", &row.id)?,
            project_id: ProjectId(row.project_id),
            project: row.project,
            name: row.name,
            last_four: row.last_four,
            scopes: scopes(&at, &row.scopes)?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
            is_expired: row.is_expired,
        })
    }
}

fn scopes(at: &Place<'_>, names: &[String]) -> Result<BTreeSet<Scope>, StoreError> {
    names.iter().map(|name| at.name("scopes", name)).collect()
}
