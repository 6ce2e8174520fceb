//! Who changed what. A row is written before the change is made and completed when it is, before the answer is sent: whatever
//! dies in between, it stands there that the change was asked for.

use chrono::{DateTime, Utc};

use super::{Page, Store, StoreError, one_more, rows::Place, storable};
use crate::domain::{KeyId, ProjectId};

/// A change that is about to be made.
#[derive(Debug, Clone)]
pub struct NewAudit {
    /// Whose rows are changed.
    pub project: ProjectId,
    /// Who asks; none where no key is needed.
    pub key: Option<KeyId>,
    /// Method and route.
    pub operation: String,
    /// The id or name in the path.
    pub resource: Option<String>,
    /// The request.
    pub request_id: String,
}

/// A row of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its place; the cursor of lists.
    pub id: i64,
    /// Who asked.
    pub key: Option<KeyId>,
    /// Method and route, or the command.
    pub operation: String,
    /// What was changed.
    pub resource: Option<String>,
    /// The request; none for the command line.
    pub request_id: Option<String>,
    /// The answer's status.
    pub status: Option<u16>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it was done or refused.
    pub ended_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Writes down a change before it is made; its place in the log.
    pub async fn begin_audit(&self, new: &NewAudit) -> Result<i64, StoreError> {
        let id = sqlx::query_scalar!(
            r#"-- begin_audit
            insert into audit_log (project_id, key_id, operation, resource, request_id)
            values ($1, $2, $3, $4, $5)
            returning id"#,
            new.project.0,
            new.key.as_ref().map(KeyId::as_str),
            new.operation,
            storable::optional(&new.resource),
            new.request_id,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(id)
    }

    /// Writes down how it ended, and the id of what was made.
    pub async fn end_audit(&self, id: i64, status: u16, resource: Option<&str>) -> Result<(), StoreError> {
        sqlx::query!(
            r#"-- end_audit
            update audit_log
            set status = $2, resource = coalesce(resource, $3), ended_at = clock_timestamp()
            where id = $1"#,
            id,
            i32::from(status),
            resource.map(storable::text),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A project's log, newest first, before the row of that id.
    pub async fn list_audit(
        &self,
        project: ProjectId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Page<AuditEntry>, StoreError> {
        let rows = sqlx::query!(
            r#"-- list_audit
            select id, key_id, operation, resource, request_id, status, created_at, ended_at
            from audit_log
            where project_id = $1 and ($2::bigint is null or id < $2)
            order by id desc
            limit $3"#,
            project.0,
            before,
            one_more(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let entries = rows.into_iter().map(|row| {
            let at = Place { table: "audit_log", id: &row.id };
            let status = row.status.map(u16::try_from).transpose();
            Ok(AuditEntry {
                id: row.id,
                key: row.key_id.map(|key| at.name("key_id", &key)).transpose()?,
                operation: row.operation,
                resource: row.resource,
                request_id: row.request_id,
                status: status.map_err(|error| at.unreadable("status", error))?,
                created_at: row.created_at,
                ended_at: row.ended_at,
            })
        });
        Ok(Page::cut(entries.collect::<Result<_, StoreError>>()?, limit))
    }
}
