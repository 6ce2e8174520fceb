//! Keys that clients give their requests, so that a repetition gets the first answer and makes nothing new.
//!
//! ```text
//! claim_key ─ Fresh ─▶ act (create_job and insert_file note what they make, in their own statement) ─▶ answer_key
//!     │                                                                      └─ refused ─▶ free_key
//!     ├─ Answered: the stored answer, again
//!     ├─ Made: the thing is made, but the process died before it stored its answer
//!     ├─ Busy: the first request is still under way
//!     └─ Reused: the key came with another request
//! ```
//! A request that dies before it has made anything holds its key for [`HOLD_SECONDS`], longer than any request may
//! take; then the next one takes it over. Whoever lost its hold makes nothing: the statements look for the holder.

use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::ProjectId;

/// How long a request without an answer keeps its key; longer than the API's own time limit.
const HOLD_SECONDS: f64 = 90.0;

/// A key as a request holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHold {
    /// Who owns it.
    pub project_id: ProjectId,
    /// Method and route.
    pub route: &'static str,
    /// What the client sent, 1 to 255 characters.
    pub key: String,
    /// The digest of the request, in lower-case hexadecimal.
    pub fingerprint: String,
    /// Tells this request from all others.
    pub holder: Uuid,
}

/// What a claim found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyClaim {
    /// The key is the caller's: act.
    Fresh,
    /// It was answered before.
    Answered(StoredAnswer),
    /// The job or file of this id was made, but no answer is stored.
    Made(Uuid),
    /// Another request with the key is under way.
    Busy,
    /// The key belongs to another request.
    Reused,
}

/// The answer that every repetition gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The status.
    pub status: u16,
    /// The `location` header.
    pub location: Option<String>,
    /// The content type.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Store {
    /// Claims a key for a request, or says what became of it.
    pub async fn claim_key(&self, hold: &KeyHold) -> Result<KeyClaim, StoreError> {
        let claimed = sqlx::query_scalar!(
            r#"-- claim_key
            insert into idempotency_keys as k (project_id, route, key, fingerprint, holder)
            values ($1, $2, $3, $4, $5)
            on conflict (project_id, route, key) do update
            set fingerprint = excluded.fingerprint, holder = excluded.holder, created_at = excluded.created_at,
                made_id = null, status = null, location = null, content_type = null, body = null
            where k.created_at < clock_timestamp() - interval '7 days'
                or (k.status is null and k.made_id is null and k.fingerprint = excluded.fingerprint
                    and k.created_at < clock_timestamp() - $6 * interval '1 second')
            returning holder"#,
            hold.project_id.0,
            hold.route,
            hold.key,
            hold.fingerprint,
            hold.holder,
            HOLD_SECONDS,
        )
        .fetch_optional(&self.pool)
        .await?;
        if claimed.is_some() { Ok(KeyClaim::Fresh) } else { self.look_at_key(hold).await }
    }

    async fn look_at_key(&self, hold: &KeyHold) -> Result<KeyClaim, StoreError> {
        let found = sqlx::query!(
            r#"-- look_at_key
            select fingerprint, made_id, status, location, content_type, body
            from idempotency_keys
            where project_id = $1 and route = $2 and key = $3"#,
            hold.project_id.0,
            hold.route,
            hold.key,
        )
        .fetch_optional(&self.pool)
        .await?;
        // Freed since the claim: the client's next try finds it free.
        let Some(found) = found else { return Ok(KeyClaim::Busy) };
        if found.fingerprint != hold.fingerprint {
            return Ok(KeyClaim::Reused);
        }
        match (found.status, found.content_type, found.body, found.made_id) {
            (Some(status), Some(content_type), Some(body), _) => {
                let status = u16::try_from(status).unwrap_or(200);
                Ok(KeyClaim::Answered(StoredAnswer { status, location: found.location, content_type, body }))
            }
            (.., Some(made)) => Ok(KeyClaim::Made(made)),
            _ => Ok(KeyClaim::Busy),
        }
    }

    /// Stores the answer of the request that holds the key. One that has lost it changes nothing.
    pub async fn answer_key(&self, holder: Uuid, answer: &StoredAnswer) -> Result<(), StoreError> {
        sqlx::query!(
            r#"-- answer_key
            update idempotency_keys
            set status = $2, location = $3, content_type = $4, body = $5
            where holder = $1 and status is null"#,
            holder,
            i32::from(answer.status),
            answer.location,
            answer.content_type,
            answer.body,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Gives back the key of a request that was refused: a repetition that is right is not bound by it.
    pub async fn free_key(&self, holder: Uuid) -> Result<(), StoreError> {
        sqlx::query!(
            r#"-- free_key
            delete from idempotency_keys where holder = $1 and status is null and made_id is null"#,
            holder,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets at most `limit` keys that are older than a week; says how many.
    pub async fn forget_keys(&self, limit: u32) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            r#"-- forget_keys
            delete from idempotency_keys
            where (project_id, route, key) in (
                select project_id, route, key from idempotency_keys
                where created_at < clock_timestamp() - interval '7 days'
                order by created_at
                limit $1
            )"#,
            i64::from(limit),
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }
}
