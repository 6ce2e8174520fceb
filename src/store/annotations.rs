//! Settled answers of a teacher: a row an example, committed as it arrives.

use std::collections::HashSet;

use super::{PAGE_BYTES, Page, Store, StoreError, one_more, rows::Place, storable};
use crate::domain::{Annotation, AnnotationStatus, JobId, Lease, Split};

/// How many answers of one status a job has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusCount {
    /// The status.
    pub status: AnnotationStatus,
    /// Answers of it.
    pub count: i64,
}

/// What a job's answers add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnotationCounts {
    /// Answers by status; a status without an answer is left out.
    pub statuses: Vec<StatusCount>,
    /// Settled answers.
    pub settled: i64,
    /// Answers to examples that have ground truth.
    pub labeled: i64,
    /// Tokens of all prompts.
    pub input_tokens: i64,
    /// Tokens of all answers.
    pub output_tokens: i64,
}

impl AnnotationCounts {
    /// Answers of one status.
    pub fn of(&self, status: AnnotationStatus) -> i64 {
        self.statuses.iter().filter(|entry| entry.status == status).map(|entry| entry.count).sum()
    }
}

impl Store {
    /// Commits an answer. One that is already settled stays as it was.
    pub async fn settle_annotation(&self, lease: Lease, annotation: &Annotation) -> Result<(), StoreError> {
        let held = sqlx::query_scalar!(
            r#"-- settle_annotation
            with holder as materialized (
                select id, project_id from jobs where id = $1 and lease_epoch = $2 and state = 'running' for share
            ), written as (
                insert into annotations (job_id, project_id, example_index, example_id, input, label, status, reason,
                    teacher_label, rationale, raw_output, input_tokens, output_tokens, latency_ms, split)
                select id, project_id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15 from holder
                on conflict (job_id, example_index) do nothing
            )
            select id from holder"#,
            lease.job_id.0,
            lease.epoch,
            annotation.example_index,
            storable::text(&annotation.example_id),
            storable::text(&annotation.input),
            storable::optional(&annotation.label),
            annotation.status.as_str(),
            storable::optional(&annotation.reason),
            storable::optional(&annotation.teacher_label),
            storable::optional(&annotation.rationale),
            storable::optional(&annotation.raw_output),
            annotation.input_tokens,
            annotation.output_tokens,
            annotation.latency_ms,
            annotation.split.map(Split::as_str),
        )
        .fetch_optional(&self.pool)
        .await?;
        held.map(drop).ok_or(StoreError::LeaseLost(lease))
    }

    /// The places in the file of all examples whose answers are settled.
    pub async fn settled_indexes(&self, id: JobId) -> Result<HashSet<i64>, StoreError> {
        let indexes = sqlx::query_scalar!(
            r#"-- settled_indexes
            select example_index from annotations where job_id = $1"#,
            id.0,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(indexes.into_iter().collect())
    }

    /// A job's answers in the file's order, after that place: at most `limit`, and fewer where their texts are large (see
    /// `PAGE_BYTES`). Only those of these statuses, or all where none is named.
    pub async fn list_annotations(
        &self,
        id: JobId,
        statuses: &[AnnotationStatus],
        after: Option<i64>,
        limit: u32,
    ) -> Result<Page<Annotation>, StoreError> {
        let statuses: Vec<String> = statuses.iter().map(|status| status.as_str().to_owned()).collect();
        let rows = sqlx::query_as!(
            AnnotationRow,
            r#"-- list_annotations
            with page as (
                select *
                from annotations
                where job_id = $1
                    and (cardinality($2::text[]) = 0 or status = any($2))
                    and ($3::bigint is null or example_index > $3)
                order by example_index
                limit $4
            ), measured as (
                select *, count(*) over () as found,
                    sum(octet_length(input) + octet_length(coalesce(label, '')) + octet_length(coalesce(reason, ''))
                        + octet_length(coalesce(teacher_label, '')) + octet_length(coalesce(rationale, ''))
                        + octet_length(coalesce(raw_output, '')))
                        over (order by example_index rows between unbounded preceding and 1 preceding) as bytes_before
                from page
            )
            select example_index as "example_index!", example_id as "example_id!", input as "input!", label,
                status as "status!", reason, teacher_label, rationale, raw_output, input_tokens as "input_tokens!",
                output_tokens as "output_tokens!", latency_ms as "latency_ms!", split, found as "found!"
            from measured
            where coalesce(bytes_before, 0) < $5
            order by example_index"#,
            id.0,
            &statuses,
            after,
            one_more(limit),
            PAGE_BYTES,
        )
        .fetch_all(&self.pool)
        .await?;
        let found = rows.first().map_or(0, |row| row.found);
        let annotations = rows.into_iter().map(|row| row.read(id)).collect::<Result<_, _>>()?;
        Ok(Page::of_some(annotations, found, limit))
    }

    /// What a job's answers add up to.
    pub async fn annotation_counts(&self, id: JobId) -> Result<AnnotationCounts, StoreError> {
        let rows = sqlx::query!(
            r#"-- annotation_counts
            select status, count(*) as "count!", count(label) as "labeled!",
                sum(input_tokens)::bigint as "input_tokens!", sum(output_tokens)::bigint as "output_tokens!"
            from annotations
            where job_id = $1
            group by status
            order by status"#,
            id.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut counts = AnnotationCounts::default();
        for row in rows {
            let status = Place { table: "annotations", id: &id }.name("status", &row.status)?;
            counts.statuses.push(StatusCount { status, count: row.count });
            counts.settled += row.count;
            counts.labeled += row.labeled;
            counts.input_tokens += row.input_tokens;
            counts.output_tokens += row.output_tokens;
        }
        Ok(counts)
    }
}

struct AnnotationRow {
    example_index: i64,
    example_id: String,
    input: String,
    label: Option<String>,
    status: String,
    reason: Option<String>,
    teacher_label: Option<String>,
    rationale: Option<String>,
    raw_output: Option<String>,
    input_tokens: i64,
    output_tokens: i64,
    latency_ms: i64,
    split: Option<String>,
    found: i64,
}

impl AnnotationRow {
    fn read(self, job: JobId) -> Result<Annotation, StoreError> {
        let id = format!("{job}/{}", self.example_index);
        let at = Place { table: "annotations", id: &id };
        Ok(Annotation {
            status: at.name("status", &self.status)?,
            split: self.split.map(|name| at.name("split", &name)).transpose()?,
            example_index: self.example_index,
            example_id: self.example_id,
            input: self.input,
            label: self.label,
            reason: self.reason,
            teacher_label: self.teacher_label,
            rationale: self.rationale,
            raw_output: self.raw_output,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            latency_ms: self.latency_ms,
        })
    }
}
