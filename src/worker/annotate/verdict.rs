//! What becomes of an example: all its samples at once, their vote, the rationales that are kept, and the reasons that are
//! asked for where none was right.

use futures::future::join_all;

use super::{
    asking::{Asked, Asking},
    call::Wanted,
    questions::Question,
    sample::Sample,
};
use crate::{
    domain::{Annotation, AnnotationStatus, CallPurpose, RationaleKeeping, Tokens},
    task::{
        answer::ParsedAnswer,
        prompt, rationale_quality, scoring,
        votes::{self, Vote},
    },
};

impl Asking<'_> {
    /// Asks about an example and commits its verdict. Where asking ends before that, what was answered is in the ledger, and
    /// the next attempt goes on from there.
    pub(super) async fn annotate(&self, question: Question) -> Asked<()> {
        let count = i32::try_from(self.spec.samples).unwrap_or(i32::MAX);
        // All of them are waited for, even where one cannot be had: they are paid for.
        let samples = join_all((0..count).map(|sample| self.sample(&question, sample))).await;
        let samples = samples.into_iter().collect::<Asked<Vec<Sample>>>()?;
        let mut verdict = self.judge_samples(&question, &samples);
        if self.wants_reasons(&verdict, &samples) {
            self.rationalize(&question, &mut verdict).await?;
        }
        self.examine(&mut verdict);
        self.ledger.decide(verdict).await.map_err(|closed| self.end_closed(closed))
    }

    fn judge_samples(&self, question: &Question, samples: &[Sample]) -> Annotation {
        let answers: Vec<ParsedAnswer> = samples.iter().map(|sample| sample.answer.clone()).collect();
        let paid = samples.iter().fold(Tokens::default(), |sum, sample| sum.plus(sample.tokens));
        let verdict = Annotation {
            samples: samples.len().try_into().unwrap_or(i32::MAX),
            input_tokens: paid.input,
            output_tokens: paid.output,
            latency_ms: samples.iter().map(|sample| sample.latency_ms).max().unwrap_or_default(),
            ..Annotation::unanswered(question.index, question.example.clone())
        };
        match votes::count(&self.spec.task, &answers) {
            Some(vote) => self.valid(verdict, vote, samples, &answers),
            None => rejected(verdict, samples),
        }
    }

    fn valid(&self, verdict: Annotation, vote: Vote, samples: &[Sample], answers: &[ParsedAnswer]) -> Annotation {
        let (task, keeping) = (&self.spec.task, self.spec.rationales);
        let kept = votes::kept_rationales(task, keeping, verdict.label.as_deref(), &vote, answers);
        let mut kept = kept.into_iter();
        let Vote { label, places, agreement } = vote;
        Annotation {
            status: AnnotationStatus::Valid,
            teacher_label: Some(label),
            agreement: Some(agreement),
            repaired: places.iter().all(|&place| samples[place].is_repaired),
            raw_output: samples[places[0]].text.clone(),
            rationale: kept.next(),
            more_rationales: kept.collect(),
            ..verdict
        }
    }

    /// Notes what is wrong with the rationale, so that a report need not read it again.
    fn examine(&self, verdict: &mut Annotation) {
        verdict.rationale_faults = self.checks.of_annotation(self.spec.rationales, verdict);
        let fingerprint = verdict.rationale.as_deref().map(rationale_quality::fingerprint);
        verdict.rationale_fingerprint = fingerprint.map(u64::cast_signed);
    }

    /// Whether the teacher is to be shown the right label: samples could be read, and none came to it. An example of which
    /// no sample could be read is a rejection, and reasons for a label that the teacher never gave would not make it a row.
    fn wants_reasons(&self, verdict: &Annotation, samples: &[Sample]) -> bool {
        let Some(truth) = verdict.label.as_deref().filter(|_| verdict.status == AnnotationStatus::Valid) else {
            return false;
        };
        let is_right = |label: &str| scoring::is_correct(&self.spec.task, label, truth);
        let any_right = samples.iter().any(|sample| sample.answer.label.as_deref().is_some_and(is_right));
        self.spec.rationales == RationaleKeeping::Rationalize && !any_right
    }

    /// Asks for the reasons of the right label. An answer that comes to another one all the same is not kept.
    async fn rationalize(&self, question: &Question, verdict: &mut Annotation) -> Asked<()> {
        let Some(truth) = verdict.label.as_deref() else { return Ok(()) };
        let (task, form, input) = (&self.spec.task, self.spec.answer_form, &question.example.input);
        let messages = prompt::rationalize(task, form, input, truth);
        let wanted = Wanted { sample: 0, purpose: CallPurpose::Rationalization, messages };
        let Ok(reply) = self.call(question, wanted).await? else { return Ok(()) };
        let Sample { answer, tokens, latency_ms, .. } = self.read(question, reply);
        let is_right = answer.label.as_deref().is_some_and(|label| scoring::is_correct(task, label, truth));
        verdict.rationale = answer.rationale.filter(|_| is_right);
        verdict.rationalized = verdict.rationale.is_some();
        verdict.input_tokens = verdict.input_tokens.saturating_add(tokens.input);
        verdict.output_tokens = verdict.output_tokens.saturating_add(tokens.output);
        verdict.latency_ms = verdict.latency_ms.saturating_add(latency_ms);
        Ok(())
    }
}

/// Of samples none of which has a label, the first one says why.
fn rejected(verdict: Annotation, samples: &[Sample]) -> Annotation {
    let Some(first) = samples.first() else { return verdict };
    Annotation {
        status: first.answer.status,
        reason: first.answer.reason.clone(),
        raw_output: first.text.clone(),
        ..verdict
    }
}
