//! One sample: the teacher's answer to an example, repaired once where it cannot be read.

use super::{
    asking::{Asked, Asking},
    call::Wanted,
    questions::Question,
};
use crate::{
    domain::{AnnotationStatus, CallPurpose, Reply, Tokens},
    task::{
        answer::{self, ParsedAnswer},
        prompt,
    },
};

/// What came of one sample.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) answer: ParsedAnswer,
    /// The text that was read; none where no answer came.
    pub(super) text: Option<String>,
    pub(super) is_repaired: bool,
    /// What was paid for it.
    pub(super) tokens: Tokens,
    pub(super) latency_ms: i64,
}

impl Asking<'_> {
    /// Asks for one sample.
    pub(super) async fn sample(&self, question: &Question, sample: i32) -> Asked<Sample> {
        let (task, form, input) = (&self.spec.task, self.spec.answer_form, &question.example.input);
        let messages = prompt::chat(task, form, input);
        let wanted = Wanted { sample, purpose: CallPurpose::Answer, messages };
        let first = match self.call(question, wanted).await? {
            Ok(reply) => self.read(question, reply),
            Err(reason) => return Ok(Sample::unanswered(reason)),
        };
        let (Some(text), Some(reason)) = (&first.text, &first.answer.reason) else { return Ok(first) };
        if !self.spec.repair || first.answer.status != AnnotationStatus::Invalid {
            return Ok(first);
        }
        let messages = prompt::repair(task, form, input, text, reason);
        let wanted = Wanted { sample, purpose: CallPurpose::Repair, messages };
        Ok(match self.call(question, wanted).await? {
            Ok(reply) => first.repaired(self.read(question, reply)),
            // Its answer that cannot be read says more than the failure to ask again.
            Err(_) => first,
        })
    }

    /// A reply to a question, read.
    pub(super) fn read(&self, question: &Question, reply: Reply) -> Sample {
        let (task, form, input) = (&self.spec.task, self.spec.answer_form, &question.example.input);
        let parsed = |truncated| answer::parse(task, form, input, &reply.text, truncated);
        let answer = match Ending::of(reply.finish_reason.as_deref()) {
            Ending::Own => parsed(false),
            Ending::CutOff => parsed(true),
            Ending::Declined => answer::declined(),
        };
        Sample {
            answer,
            tokens: Tokens { input: reply.input_tokens, output: reply.output_tokens },
            latency_ms: reply.latency_ms,
            text: Some(reply.text),
            is_repaired: false,
        }
    }
}

/// How a reply ended, by its `finish_reason`.
enum Ending {
    /// The teacher had said what it had to say, or nobody knows.
    Own,
    /// At a token limit: that of the request, or its model's own.
    CutOff,
    /// By a refusal, or by a filter, which may have taken any part of the text.
    Declined,
}

impl Ending {
    fn of(finish_reason: Option<&str>) -> Self {
        match finish_reason {
            Some("length" | "max_tokens" | "model_length") => Self::CutOff,
            Some("content_filter" | "refusal" | "safety") => Self::Declined,
            _ => Self::Own,
        }
    }
}

impl Sample {
    fn unanswered(reason: String) -> Self {
        let status = AnnotationStatus::Failed;
        let answer = ParsedAnswer { status, label: None, rationale: None, reason: Some(reason) };
        Self { answer, text: None, is_repaired: false, tokens: Tokens::default(), latency_ms: 0 }
    }

    /// The second try where it can be read, else the first one; both are paid for.
    fn repaired(self, again: Self) -> Self {
        let (tokens, latency_ms) = (self.tokens.plus(again.tokens), self.latency_ms.saturating_add(again.latency_ms));
        let is_repaired = again.answer.status == AnnotationStatus::Valid;
        let better = if is_repaired { again } else { self };
        Self { tokens, latency_ms, is_repaired, ..better }
    }
}
