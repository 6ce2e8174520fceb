//! Chunks of an annotation's file: planned by who leads the job, taken and settled by hands (`store::hands`).

use super::{Store, StoreError};
use crate::domain::{Chunk, Hand, JobId, Lease};

impl Store {
    /// The last chunk that was planned.
    pub async fn last_chunk(&self, id: JobId) -> Result<Option<Chunk>, StoreError> {
        Ok(sqlx::query_as!(
            Chunk,
            r#"-- last_chunk
            select number, first_index, end_index, line_number, byte_offset, end_offset
            from annotation_chunks
            where job_id = $1
            order by number desc
            limit 1"#,
            id.0,
        )
        .fetch_optional(&self.pool)
        .await?)
    }

    /// Writes planned chunks down; those that are there already stay as they are.
    pub async fn plan_chunks(&self, lease: Lease, chunks: &[Chunk]) -> Result<(), StoreError> {
        let column = |of: fn(&Chunk) -> i64| chunks.iter().map(of).collect::<Vec<i64>>();
        let numbers: Vec<i32> = chunks.iter().map(|chunk| chunk.number).collect();
        let held = sqlx::query_scalar!(
            r#"-- plan_chunks
            with holder as materialized (
                select id, project_id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for share
            ), planned as (
                insert into annotation_chunks (job_id, project_id, number, first_index, end_index, line_number,
                    byte_offset, end_offset)
                select holder.id, holder.project_id, c.*
                from holder, unnest($3::integer[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[]) as c
                on conflict do nothing
            )
            select id from holder"#,
            lease.job_id.0,
            lease.epoch,
            &numbers,
            &column(|chunk| chunk.first_index),
            &column(|chunk| chunk.end_index),
            &column(|chunk| chunk.line_number),
            &column(|chunk| chunk.byte_offset),
            &column(|chunk| chunk.end_offset),
        )
        .fetch_optional(&self.pool)
        .await?;
        held.map(drop).ok_or(StoreError::LeaseLost(lease))
    }

    /// Takes the first open chunk, while the job runs and nobody wants it to stop. None where there is none. One that the hand
    /// has and does not know of comes first: the answer to the statement that took it was lost.
    ///
    /// # Errors
    /// [`StoreError::HandLost`] where the hand was taken away.
    pub async fn take_chunk(&self, hand: Hand, known: &[i32]) -> Result<Option<Chunk>, StoreError> {
        let row = sqlx::query!(
            r#"-- take_chunk
            with mine as materialized (
                select job_id, epoch from annotation_hands where job_id = $1 and epoch = $2 for share
            ), unknown as materialized (
                select c.number
                from mine join annotation_chunks c on c.job_id = mine.job_id and c.hand = mine.epoch
                where c.number <> all($3)
                order by c.number
                limit 1
            ), open as materialized (
                select c.number
                from mine join jobs j on j.id = mine.job_id join annotation_sums s on s.job_id = j.id
                    join annotation_chunks c on c.job_id = j.id
                where j.state = 'running' and j.cancel_requested_at is null and j.pause_requested_at is null and not s.closed
                    and c.hand is null and c.settled_at is null and not exists (select from unknown)
                order by c.number
                limit 1
                for update of c skip locked
            ), next as (
                select number from unknown union all select number from open
            ), taken as (
                update annotation_chunks c set hand = $2
                from next
                where c.job_id = $1 and c.number = next.number
                returning c.number, c.first_index, c.end_index, c.line_number, c.byte_offset, c.end_offset
            )
            select taken.number as "number?", taken.first_index as "first_index?", taken.end_index as "end_index?",
                taken.line_number as "line_number?", taken.byte_offset as "byte_offset?", taken.end_offset as "end_offset?"
            from mine left join taken on true"#,
            hand.job_id.0,
            hand.epoch,
            known,
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(StoreError::HandLost(hand))?;
        let Some(number) = row.number else { return Ok(None) };
        let known = "a chunk has all its columns";
        Ok(Some(Chunk {
            number,
            first_index: row.first_index.expect(known),
            end_index: row.end_index.expect(known),
            line_number: row.line_number.expect(known),
            byte_offset: row.byte_offset.expect(known),
            end_offset: row.end_offset.expect(known),
        }))
    }

    /// Notes that each example of a chunk has a verdict. Idempotent.
    pub async fn settle_chunk(&self, hand: Hand, number: i32) -> Result<(), StoreError> {
        let done = sqlx::query!(
            r#"-- settle_chunk
            update annotation_chunks
            set settled_at = coalesce(settled_at, clock_timestamp()), hand = null
            where job_id = $1 and number = $3 and (hand = $2 or settled_at is not null)"#,
            hand.job_id.0,
            hand.epoch,
            number,
        )
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::HandLost(hand)) }
    }

    /// Whether a chunk is not settled yet: open, or held. Each has an index of its own.
    pub async fn has_unsettled_chunks(&self, id: JobId) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"-- has_unsettled_chunks
            select exists (select from annotation_chunks where job_id = $1 and hand is null and settled_at is null)
                or exists (select from annotation_chunks where job_id = $1 and hand is not null) as "has_unsettled!""#,
            id.0,
        )
        .fetch_one(&self.pool)
        .await?)
    }
}
