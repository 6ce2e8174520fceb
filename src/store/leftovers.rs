//! Which files no row refers to. Rows about what an attempt leaves are only written while its job runs under the attempt's
//! epoch, with one exception: the files of an annotation that was cancelled or failed are written after its end
//! (`annotation_ends`) and bear its last epoch. So no row today is no proof that there will be none, and whoever removes
//! what is found here leaves it a day's grace first (`worker/leftovers.rs`).

use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::{JobId, Lease};

/// Something in the artifact store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// A file's key or a folder's prefix, as a row would have it.
    pub place: String,
    /// The attempt that left it; none for an upload.
    pub left_by: Option<Lease>,
}

impl Store {
    /// Those that no row refers to and whose attempt, if any, holds its job no longer. A row that says that the files are
    /// gone does not count.
    pub async fn orphans(&self, artifacts: &[Artifact]) -> Result<Vec<String>, StoreError> {
        let places: Vec<String> = artifacts.iter().map(|one| one.place.clone()).collect();
        let jobs: Vec<Option<Uuid>> = artifacts.iter().map(|one| one.left_by.map(|lease| lease.job_id.0)).collect();
        let epochs: Vec<Option<i64>> = artifacts.iter().map(|one| one.left_by.map(|lease| lease.epoch)).collect();
        Ok(sqlx::query_scalar!(
            r#"-- orphans
            select a.place as "place!"
            from unnest($1::text[], $2::uuid[], $3::bigint[]) as a (place, job_id, lease_epoch)
            where not exists (select from files f where f.artifact_key = a.place and f.purged_at is null)
                and not exists (select from models m where m.artifact_prefix = a.place and m.purged_at is null)
                and not exists (select from checkpoints c where c.artifact_prefix = a.place and c.purged_at is null)
                and not exists (select from snapshots s where s.artifact_prefix = a.place)
                and not exists (
                    select from jobs j where j.id = a.job_id and j.lease_epoch = a.lease_epoch and j.state = 'running'
                )"#,
            &places,
            &jobs as &[Option<Uuid>],
            &epochs as &[Option<i64>],
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// What tells this database from every other one, also after a move to another server: when it was made.
    pub async fn identity(&self) -> Result<String, StoreError> {
        let made = sqlx::query_scalar!(
            r#"-- identity
            select created_at from projects where id = $1"#,
            Self::default_project().0,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(made.to_rfc3339())
    }

    /// Those of these holds under which a job runs at this moment.
    pub async fn held(&self, leases: &[Lease]) -> Result<Vec<Lease>, StoreError> {
        let (ids, epochs): (Vec<Uuid>, Vec<i64>) = leases.iter().map(|lease| (lease.job_id.0, lease.epoch)).unzip();
        let rows = sqlx::query!(
            r#"-- held
            select j.id, j.lease_epoch
            from unnest($1::uuid[], $2::bigint[]) as h (id, epoch)
            join jobs j on j.id = h.id and j.lease_epoch = h.epoch
            where j.state = 'running'"#,
            &ids,
            &epochs,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| Lease { job_id: JobId(row.id), epoch: row.lease_epoch }).collect())
    }
}
