//! What it takes to ask a teacher about every example.

use super::{
    PAST_JOBS, Unknown,
    prompts::{self, Prompts},
    sample, second_calls,
};
use crate::{
    api::ProjectState,
    domain::{AnnotationSpec, Estimate, Example, File, JobKind, JobSpec, Span, Split, TeacherTerms},
    store::PastJob,
    task::prompt,
};

/// Tokens of an answer where this teacher has none on record: a bare label, and a rationale of two sentences.
const ANSWER_TOKENS: Span = Span { low: 8.0, expected: 60.0, high: 250.0 };
/// Seconds from request to answer where this teacher has none on record.
const ANSWER_SECONDS: Span = Span { low: 0.2, expected: 2.0, high: 15.0 };

/// What there is to go by.
pub(super) struct Grounds {
    file: File,
    /// The first examples of the file.
    pub(super) examples: Vec<Example>,
    /// Finished jobs of the teacher.
    pub(super) past: Vec<PastJob>,
}

impl Grounds {
    pub(super) async fn of(state: &ProjectState, spec: &AnnotationSpec) -> Result<Self, Unknown> {
        let file = sample::file(state, spec.file).await?;
        let examples = sample::examples(state, &file, &Split::ALL).await?;
        let past = of_teacher(state, &spec.teacher).await?;
        Ok(Self { file, examples, past })
    }
}

pub(super) fn estimate(state: &ProjectState, spec: &AnnotationSpec, grounds: &Grounds) -> Estimate {
    let Grounds { file, examples, past } = grounds;
    let rows = file.validation.valid_rows.min(spec.max_examples.unwrap_or(u64::MAX));
    let record = Record::of(past);
    let answers = rows as f64 * f64::from(spec.samples);
    let longest = f64::from(spec.max_output_tokens);
    let answer = record.answer_tokens.unwrap_or(ANSWER_TOKENS);
    let answer =
        Span { low: answer.low.min(longest), expected: answer.expected.min(longest), high: answer.high.min(longest) };
    let second = second_calls::for_each_answer(spec, past, examples).times(answers);
    let calls = second.plus(Span::exactly(answers));
    let by_rule = |asked: &dyn Fn(&str) -> String| prompts::mean_by_rule(examples.iter().map(|one| asked(&one.input)));
    let first_rule = by_rule(&|input| prompt_text(spec, input));
    let second_rule = by_rule(&|input| second_calls::text(spec, input));
    let counts = Prompts::of(past);
    // A second question holds the first answer.
    let second_prompt = counts.counted(second_rule).plus(answer);
    let input_tokens = counts.counted(first_rule).times(answers).plus(second_prompt.each(second));
    let ruled = first_rule.expected * answers + (second_rule.expected + answer.expected) * second.expected;
    let output_tokens = answer.each(calls);
    let terms = state.teachers.iter().find(|terms| terms.name == spec.teacher);
    Estimate {
        rows,
        input_tokens: Some(input_tokens),
        prompt_tokens_by_rule: (calls.expected > 0.0).then(|| ruled / calls.expected),
        output_tokens: Some(output_tokens),
        usd: terms.filter(|terms| terms.prices().are_known()).map(|terms| price(terms, input_tokens, output_tokens)),
        seconds: terms
            .map(|terms| seconds(terms, calls.expected, input_tokens.expected + output_tokens.expected, &record)),
        drawn_from_jobs: past.len().try_into().unwrap_or(u32::MAX),
        ..Estimate::default()
    }
}

fn prompt_text(spec: &AnnotationSpec, input: &str) -> String {
    prompt::as_text(&prompt::chat(&spec.task, spec.answer_form, input))
}

async fn of_teacher(state: &ProjectState, teacher: &str) -> Result<Vec<PastJob>, Unknown> {
    let past = state.store.past_jobs(state.project, JobKind::Annotation, PAST_JOBS).await?;
    let same = |past: &PastJob| matches!(&past.spec, JobSpec::Annotation(spec) if spec.teacher == teacher);
    Ok(past.into_iter().filter(same).collect())
}

/// What a teacher took so far.
struct Record {
    /// Tokens of an answer.
    answer_tokens: Option<Span>,
    /// Seconds of an answer, with as many side by side as it takes.
    answer_seconds: Option<Span>,
}

impl Record {
    fn of(past: &[PastJob]) -> Self {
        Self {
            answer_tokens: spread(past, |past| past.taken.number("/output_tokens"), answers),
            answer_seconds: spread(past, |past| past.taken.seconds, answers),
        }
    }
}

/// Answers that a job paid for: those that were taken from the ledger took nothing; a job from before there was one asked once
/// for each row.
pub(super) fn answers(past: &PastJob) -> Option<f64> {
    past.taken.number("/calls/answered").or_else(|| past.taken.rows())
}

/// A figure over several jobs for each unit of another one: the mean over all units, and the jobs furthest off with a margin.
pub(super) fn spread(
    past: &[PastJob],
    figure: impl Fn(&PastJob) -> Option<f64>,
    units: impl Fn(&PastJob) -> Option<f64>,
) -> Option<Span> {
    let of_job = |past: &PastJob| Some((figure(past)?, units(past).filter(|count| *count > 0.0)?));
    let of_jobs: Vec<(f64, f64)> = past.iter().filter_map(of_job).collect();
    let all: f64 = of_jobs.iter().map(|(_, units)| units).sum();
    (all > 0.0).then(|| Span {
        low: 0.8 * of_jobs.iter().map(|(sum, units)| sum / units).fold(f64::INFINITY, f64::min),
        expected: of_jobs.iter().map(|(sum, _)| sum).sum::<f64>() / all,
        high: 1.25 * of_jobs.iter().map(|(sum, units)| sum / units).fold(0.0, f64::max),
    })
}

fn price(terms: &TeacherTerms, input_tokens: Span, output_tokens: Span) -> Span {
    let input = input_tokens.times(terms.usd_per_million_input_tokens / 1e6);
    input.plus(output_tokens.times(terms.usd_per_million_output_tokens / 1e6))
}

/// By the pace of answers, and no faster than the teacher's limits allow.
fn seconds(terms: &TeacherTerms, answers: f64, tokens: f64, record: &Record) -> Span {
    let side_by_side = answers / terms.max_concurrency.max(1) as f64;
    let by_answers = match record.answer_seconds {
        Some(seconds) => seconds.times(answers),
        None => ANSWER_SECONDS.times(side_by_side.max(1.0)),
    };
    let minutes = |wanted: f64, limit: Option<u32>| limit.map_or(0.0, |limit| wanted / f64::from(limit.max(1)));
    let by_limits = 60.0 * minutes(answers, terms.requests_per_minute).max(minutes(tokens, terms.tokens_per_minute));
    by_answers.at_least(by_limits)
}
