//! The verdicts of an annotation, read: a row an example. The ledger writes them.

use super::{PAGE_BYTES, Page, Store, StoreError, one_more, rows::Place};
use crate::domain::{Annotation, AnnotationStatus, JobId};

impl Store {
    /// A job's verdicts in the file's order, after that place: at most `limit`, and fewer where their texts are large (see
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
                        + octet_length(coalesce(raw_output, '')) + octet_length(array_to_string(more_rationales, '')))
                        over (order by example_index rows between unbounded preceding and 1 preceding) as bytes_before
                from page
            )
            select example_index as "example_index!", example_id as "example_id!", input as "input!", label,
                status as "status!", reason, teacher_label, rationale, more_rationales as "more_rationales!", rationale_faults,
                rationale_fingerprint, raw_output, samples as "samples!", agreement, repaired as "repaired!", rationalized as "rationalized!",
                input_tokens as "input_tokens!", output_tokens as "output_tokens!", latency_ms as "latency_ms!", split,
                found as "found!"
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
    more_rationales: Vec<String>,
    rationale_faults: Option<Vec<String>>,
    rationale_fingerprint: Option<i64>,
    raw_output: Option<String>,
    samples: i32,
    agreement: Option<f64>,
    repaired: bool,
    rationalized: bool,
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
        let faults =
            |names: Vec<String>| names.iter().map(|name| at.name("rationale_faults", name)).collect::<Result<_, _>>();
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
            more_rationales: self.more_rationales,
            rationale_faults: self.rationale_faults.map(faults).transpose()?,
            rationale_fingerprint: self.rationale_fingerprint,
            raw_output: self.raw_output,
            samples: self.samples,
            agreement: self.agreement,
            repaired: self.repaired,
            rationalized: self.rationalized,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            latency_ms: self.latency_ms,
        })
    }
}
