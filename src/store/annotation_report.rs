//! What a job's verdicts and calls look like from afar: sums, percentiles and a few examples, made by the database. No
//! statement gives more rows than are shown, but for [`Store::label_pairs`], whose rows pass one by one.

use futures::{Stream, StreamExt};

use super::{Store, StoreError, rows::Place};
use crate::domain::{
    AgreementCount, AnnotationStatus, JobId, LabelCount, LabelHistogram, Percentiles, RationaleFault, RejectionCount,
};

/// Labels that are counted by name.
const LABELS: i64 = 100;
/// Characters of a text that is shown.
const SHOWN: i32 = 500;
/// Characters of a label or a reason by which it is told from others.
const TOLD_APART: i32 = 200;

/// Examples whose ground truth and teacher's label are these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelPair {
    /// Ground truth.
    pub label: String,
    /// The teacher's label; none where no answer is valid.
    pub teacher_label: Option<String>,
    /// How many there are.
    pub examples: i64,
    /// The place of the first.
    pub first: i64,
}

/// Examples that went wrong alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejections {
    /// How many, and why.
    pub alike: RejectionCount,
    /// The place of the first.
    pub first: i64,
}

/// Rationales with a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faulty {
    /// The fault.
    pub fault: RationaleFault,
    /// How many there are.
    pub rationales: i64,
    /// The place of the first.
    pub first: i64,
}

/// An example, its texts cut.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownExample {
    /// Its place in the file.
    pub example_index: i64,
    /// Its id there.
    pub example_id: String,
    /// Its input.
    pub input: String,
    /// What became of it.
    pub status: AnnotationStatus,
    /// Ground truth.
    pub label: Option<String>,
    /// The teacher's label.
    pub teacher_label: Option<String>,
    /// Share of the samples that say it.
    pub agreement: Option<f64>,
    /// The first rationale.
    pub rationale: Option<String>,
    /// The teacher's text.
    pub raw_output: Option<String>,
}

/// Lengths of a job's texts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AnnotationLengths {
    /// Unicode characters of the inputs.
    pub input: Option<Percentiles>,
    /// Unicode characters of the first rationales.
    pub rationale: Option<Percentiles>,
}

impl Store {
    /// How many valid examples have each agreement, the least first.
    pub async fn agreements(&self, id: JobId) -> Result<Vec<AgreementCount>, StoreError> {
        Ok(sqlx::query_as!(
            AgreementCount,
            r#"-- agreements
            select agreement as "agreement!", count(*) as "examples!"
            from annotations
            where job_id = $1 and agreement is not null
            group by agreement
            order by agreement"#,
            id.0,
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// The labels of the valid examples.
    pub async fn annotation_labels(&self, id: JobId) -> Result<LabelHistogram, StoreError> {
        let rows = sqlx::query!(
            r#"-- annotation_labels
            select left(teacher_label, $2) as "label!", count(*) as "examples!", count(*) over () as "distinct!",
                sum(count(*)) over ()::bigint as "all!", bool_or(char_length(teacher_label) > $2) as "is_cut!"
            from annotations
            where job_id = $1 and status = 'valid'
            group by 1
            order by 2 desc, 1
            limit $3"#,
            id.0,
            TOLD_APART,
            LABELS,
        )
        .fetch_all(&self.pool)
        .await?;
        let (distinct, all) = rows.first().map_or((0, 0), |row| (row.distinct, row.all));
        let shown: i64 = rows.iter().map(|row| row.examples).sum();
        let exact = !rows.iter().any(|row| row.is_cut);
        let top = rows.into_iter().map(|row| LabelCount { label: row.label, rows: unsigned(row.examples) }).collect();
        Ok(LabelHistogram { top, other_rows: unsigned(all - shown), distinct: unsigned(distinct), exact })
    }

    /// How long inputs and rationales are.
    pub async fn annotation_lengths(&self, id: JobId) -> Result<AnnotationLengths, StoreError> {
        let row = sqlx::query!(
            r#"-- annotation_lengths
            select percentile_disc(array[0, 0.5, 0.9, 0.95, 0.99, 1]) within group (order by input_characters) as input,
                avg(input_characters)::double precision as input_mean,
                percentile_disc(array[0, 0.5, 0.9, 0.95, 0.99, 1]) within group (order by rationale_characters) as rationale,
                avg(rationale_characters)::double precision as rationale_mean
            from annotations
            where job_id = $1"#,
            id.0,
        )
        .fetch_one(&self.pool)
        .await?;
        let wide = |values: Option<Vec<i32>>| values.map(|values| values.into_iter().map(i64::from).collect());
        Ok(AnnotationLengths {
            input: percentiles(wide(row.input), row.input_mean),
            rationale: percentiles(wide(row.rationale), row.rationale_mean),
        })
    }

    /// How long the answers of a job's calls took, in milliseconds.
    pub async fn call_latencies(&self, id: JobId) -> Result<Option<Percentiles>, StoreError> {
        let row = sqlx::query!(
            r#"-- call_latencies
            select percentile_disc(array[0, 0.5, 0.9, 0.95, 0.99, 1]) within group (order by latency_ms) as latency,
                avg(latency_ms)::double precision as mean
            from teacher_calls
            where job_id = $1 and state = 'answered'"#,
            id.0,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(percentiles(row.latency, row.mean))
    }

    /// Ground truth beside the teacher's label, the commonest pair first.
    pub fn label_pairs(&self, id: JobId) -> impl Stream<Item = Result<LabelPair, StoreError>> {
        let pairs = sqlx::query_as!(
            LabelPair,
            r#"-- label_pairs
            select label as "label!", teacher_label, count(*) as "examples!", min(example_index) as "first!"
            from annotations
            where job_id = $1 and label is not null
            group by label, teacher_label
            order by 3 desc, 4"#,
            id.0,
        );
        pairs.fetch(&self.pool).map(|pair| Ok(pair?))
    }

    /// The commonest reasons why examples are not valid.
    pub async fn rejections(&self, id: JobId, limit: i64) -> Result<Vec<Rejections>, StoreError> {
        let rows = sqlx::query!(
            r#"-- rejections
            select status, left(reason, $2) as reason, count(*) as "examples!", min(example_index) as "first!"
            from annotations
            where job_id = $1 and status <> 'valid'
            group by 1, 2
            order by 3 desc, 4
            limit $3"#,
            id.0,
            TOLD_APART,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        let at = Place { table: "annotations", id: &id };
        let read = rows.into_iter().map(|row| {
            let status = at.name("status", &row.status)?;
            let alike = RejectionCount { status, reason: row.reason, examples: row.examples };
            Ok(Rejections { alike, first: row.first })
        });
        read.collect()
    }

    /// The places of the valid examples whose samples agree least.
    pub async fn least_agreed(&self, id: JobId, limit: i64) -> Result<Vec<i64>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"-- least_agreed
            select example_index from annotations
            where job_id = $1 and agreement < 1
            order by agreement, example_index
            limit $2"#,
            id.0,
            limit,
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// How many rationales were looked at, and how many of them have a fault; then those by fault, the commonest first.
    pub async fn rationale_faults(&self, id: JobId) -> Result<(i64, i64, Vec<Faulty>), StoreError> {
        // Of equal rationales the first is no duplicate.
        let rows = sqlx::query!(
            r#"-- rationale_faults
            with looked_at as (
                select example_index, rationale_faults, row_number() over same > 1 as is_duplicate
                from annotations
                where job_id = $1 and rationale_fingerprint is not null and status = 'valid'
                window same as (partition by rationale_fingerprint order by example_index)
            ), totals as (
                select count(*) as examined,
                    count(*) filter (where is_duplicate or cardinality(rationale_faults) > 0) as faulty
                from looked_at
            ), by_fault as (
                select f.fault, count(*) as rationales, min(l.example_index) as first
                from looked_at l, unnest(l.rationale_faults) as f (fault)
                group by 1
                union all
                select 'duplicate', count(*), min(example_index) from looked_at where is_duplicate having count(*) > 0
            )
            select t.examined as "examined!", t.faulty as "faulty!", b.fault as "fault?", b.rationales as "rationales?",
                b.first as "first?"
            from totals t left join by_fault b on true
            order by b.rationales desc, b.fault"#,
            id.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let (examined, faulty) = rows.first().map_or((0, 0), |row| (row.examined, row.faulty));
        let at = Place { table: "annotations", id: &id };
        let mut found = Vec::new();
        for row in rows {
            if let (Some(fault), Some(rationales), Some(first)) = (row.fault, row.rationales, row.first) {
                found.push(Faulty { fault: at.name("rationale_faults", &fault)?, rationales, first });
            }
        }
        Ok((examined, faulty, found))
    }

    /// The examples at these places.
    pub async fn examples_at(&self, id: JobId, places: &[i64]) -> Result<Vec<ShownExample>, StoreError> {
        let rows = sqlx::query!(
            r#"-- examples_at
            select example_index, left(example_id, $3) as "example_id!", left(input, $3) as "input!", status,
                left(label, $3) as label, left(teacher_label, $3) as teacher_label, agreement,
                left(rationale, $3) as rationale, left(raw_output, $3) as raw_output
            from annotations
            where job_id = $1 and example_index = any($2)"#,
            id.0,
            places,
            SHOWN,
        )
        .fetch_all(&self.pool)
        .await?;
        let at = Place { table: "annotations", id: &id };
        let read = rows.into_iter().map(|row| {
            Ok(ShownExample {
                status: at.name("status", &row.status)?,
                example_index: row.example_index,
                example_id: row.example_id,
                input: row.input,
                label: row.label,
                teacher_label: row.teacher_label,
                agreement: row.agreement,
                rationale: row.rationale,
                raw_output: row.raw_output,
            })
        });
        read.collect()
    }
}

/// Six percentiles in their order, and the mean, rounded to two decimals.
fn percentiles(values: Option<Vec<i64>>, mean: Option<f64>) -> Option<Percentiles> {
    let values = values?;
    let [min, p50, p90, p95, p99, max] = <[i64; 6]>::try_from(values).ok()?.map(unsigned);
    Some(Percentiles { min, p50, p90, p95, p99, max, mean: (mean? * 100.0).round() / 100.0 })
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
