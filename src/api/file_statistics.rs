//! `GET /v1/files/{id}/statistics`: how long a file's texts are in the tokens of a model. What needs no model is in the
//! file itself, under `validation.statistics`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Receiver;
use utoipa::{IntoParams, ToSchema};

use super::{
    ProjectState,
    asked_model::AskedModel,
    error::ApiError,
    extract::{Id, Query, from_text},
    file_rows::on_a_thread,
    files::{find, unreadable},
    openapi::OfOne,
};
use crate::{
    domain::{Example, File, FileId, Hyperparameters, LineError, Percentiles, StudentCard},
    inference::ModelTokenizer,
    task::{lines::LineReader, statistics::Lengths},
};

/// Rows looked at when the request does not say.
const DEFAULT_ROWS: u64 = 10_000;
/// Rows looked at, at most: some ten seconds of one core.
const MAX_ROWS: u64 = 100_000;

/// Whose tokens are counted, and on how many rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatisticsQuery {
    /// The model whose tokenizer counts: a name, or the id of a distillation job.
    #[param(example = "t5-small")]
    model: String,
    /// Look at the first so many rows, 1 to 100000; default 10000.
    #[serde(default, deserialize_with = "from_text")]
    #[param(example = 10000)]
    rows: Option<u64>,
}

/// A file's lengths in tokens.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FileTokenStatistics {
    /// Always `file.statistics`.
    #[schema(example = "file.statistics")]
    object: StatisticsObject,
    /// The file.
    file: FileId,
    /// The model whose tokenizer counted.
    #[schema(example = "t5-small")]
    model: String,
    /// Rows of the file that have no error.
    #[schema(example = 50000)]
    rows: u64,
    /// Rows that were looked at, from the first on.
    #[schema(example = 10000)]
    rows_looked_at: u64,
    /// The inputs as the model reads them, behind its prefix: behind the longer one, where it learned rationales apart.
    input: TokenLengths,
    /// The labels, of ground truth where a row has both.
    label: TokenLengths,
    /// The rationales, all of a row that has several.
    rationale: TokenLengths,
}

/// The one value of the statistics' `object`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub enum StatisticsObject {
    /// They are a file's statistics.
    #[serde(rename = "file.statistics")]
    FileStatistics,
}

/// How many tokens the texts of one field have, the one that ends a text among them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenLengths {
    /// Rows that have the field; of rationales, how many there are.
    #[schema(example = 10000)]
    rows: u64,
    /// Their lengths; null where no row has the field.
    #[schema(required = true)]
    tokens: Option<Percentiles>,
    /// What a training reads or learns of such a text when its hyperparameters do not say.
    #[schema(example = 1024)]
    default_limit: u32,
    /// Rows whose text is longer and would be cut.
    #[schema(example = 12)]
    rows_over_limit: u64,
}

/// Count a file's tokens.
///
/// Percentiles of the tokens of inputs (with the model's prefix), labels and rationales by the tokenizer of a model, and how
/// many rows are longer than a training reads by default. Looks at the first rows only, and says at how many.
#[utoipa::path(get, path = "/v1/files/{id}/statistics", tag = "files",
    params(("id" = FileId, Path, description = "The file"), StatisticsQuery),
    responses((status = 200, description = "Its lengths in tokens", body = FileTokenStatistics), OfOne))]
pub async fn get_file_statistics(
    state: ProjectState,
    id: Id<FileId>,
    Query(query): Query<StatisticsQuery>,
) -> Result<axum::Json<FileTokenStatistics>, ApiError> {
    let file = find(&state, id).await?;
    let most = query.rows.unwrap_or(DEFAULT_ROWS);
    if !(1..=MAX_ROWS).contains(&most) {
        let detail = format!("rows is {most}; send 1 to {MAX_ROWS}");
        return Err(ApiError::field("#/rows", "invalid_value", detail));
    }
    let model = AskedModel::find(&state, &query.model).await?;
    let directory = model.files.directory.clone();
    let tokenizer = tokio::task::spawn_blocking(move || ModelTokenizer::open(&directory)).await;
    let tokenizer =
        tokenizer.map_err(|error| ApiError::Internal(Box::new(error)))?.map_err(|error| model.refused(error))?;
    let counting = Counting::new(tokenizer, &model.card);
    let counts = count(&state, &file, counting, most).await?;
    let limits = Hyperparameters::LONGEST;
    Ok(axum::Json(FileTokenStatistics {
        object: StatisticsObject::FileStatistics,
        file: file.id,
        model: model.name,
        rows: file.validation.valid_rows,
        rows_looked_at: counts.input.count(),
        input: TokenLengths::of(&counts.input, limits.input),
        label: TokenLengths::of(&counts.label, limits.label),
        rationale: TokenLengths::of(&counts.rationale, limits.rationale),
    }))
}

impl TokenLengths {
    fn of(lengths: &Lengths, default_limit: u32) -> Self {
        Self {
            rows: lengths.count(),
            tokens: lengths.percentiles(),
            default_limit,
            rows_over_limit: lengths.above(u64::from(default_limit)),
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    input: Lengths,
    label: Lengths,
    rationale: Lengths,
}

async fn count(state: &ProjectState, file: &File, counting: Counting, most: u64) -> Result<Counts, ApiError> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    match state.artifacts.read(&file.artifact_key).await {
        Ok(bytes) => on_a_thread(bytes, move |arriving| counting.run(arriving, most)).await,
        Err(error) => Err(unreadable(state, file.id, error).await),
    }
}

/// What is counted with.
struct Counting {
    tokenizer: ModelTokenizer,
    /// What a training and a prediction put before an input.
    prefix: String,
}

impl Counting {
    fn new(tokenizer: ModelTokenizer, card: &StudentCard) -> Self {
        let prefixes = std::iter::once(&card.label_prefix).chain(&card.rationale_prefix);
        let prefix = prefixes.max_by_key(|prefix| tokenizer.count(prefix)).cloned().unwrap_or_default();
        Self { tokenizer, prefix }
    }

    fn run(self, mut arriving: Receiver<Bytes>, most: usize) -> Counts {
        let (mut counts, mut left, mut lines) = (Counts::default(), most, LineReader::new());
        let mut take = |row: Result<Example, LineError>, left: &mut usize| {
            if let (Ok(row), 1..) = (row, *left) {
                *left -= 1;
                self.take(&row, &mut counts);
            }
        };
        while let Some(chunk) = arriving.blocking_recv() {
            lines.push(&chunk, &mut |_, row| take(row, &mut left));
            if left == 0 {
                return counts;
            }
        }
        lines.finish(&mut |_, row| take(row, &mut left));
        counts
    }

    fn take(&self, row: &Example, counts: &mut Counts) {
        counts.input.take(self.tokenizer.count(&format!("{}{}", self.prefix, row.input)));
        if let Some(label) = row.label.as_ref().or(row.teacher_label.as_ref()) {
            counts.label.take(self.tokenizer.count(label));
        }
        row.rationales().for_each(|rationale| counts.rationale.take(self.tokenizer.count(rationale)));
    }
}
