//! One thing that is asked of the teacher, until there is an answer: from this job's ledger, from another job's, or by as
//! many calls as it takes. Each call is written down before it is sent and settled with its outcome.

use std::{pin::pin, time::Duration};

use tokio::time::timeout;

use super::{
    asking::{Asked, Asking, Ended},
    ledger::Permission,
    pause,
    questions::Question,
};
use crate::{
    domain::{CallKey, CallOutcome, CallPurpose, NewCall, Reply, Tokens},
    outbound::retry,
    task::prompt::{self, Message},
    teacher::{Completion, CompletionRequest, TeacherError, Turn},
    telemetry::chain,
    worker::AttemptError,
};

/// Tries at one thing before it is given up; a 429 is not a try.
pub(super) const MAX_TRIES: u32 = 5;

/// How long a call that waits to be written down keeps its place among those whose turn is next.
const PLACE_KEPT: Duration = Duration::from_millis(500);

/// What is asked.
pub(super) struct Wanted {
    pub(super) sample: i32,
    pub(super) purpose: CallPurpose,
    pub(super) messages: Vec<Message>,
}

/// What became of one call.
pub(super) enum Sent {
    /// It was answered.
    Answered(Reply),
    /// The teacher cannot answer this.
    Refused(String),
    /// Another call may do better.
    Again(TeacherError),
}

impl Asking<'_> {
    /// The teacher's reply; the inner error is its last word on this one thing.
    pub(super) async fn call(&self, question: &Question, wanted: Wanted) -> Asked<Result<Reply, String>> {
        let Wanted { sample, purpose, messages } = wanted;
        let mut request = self.request(sample, messages);
        let mut call = self.new_call(question, sample, purpose, &request);
        request.idempotency_key = Some(self.idempotency_key(&call));
        if let Some(reply) = question.replay(sample, purpose, &call.request_sha256) {
            return Ok(Ok(reply));
        }
        // A question that was set aside is to be asked: another job's answer may be the very one that was no good.
        if self.spec.reuse
            && question.round() == 0
            && let Some(reply) = self.ledger.reuse(call.clone()).await.map_err(|closed| self.end_closed(closed))?
        {
            return Ok(Ok(reply));
        }
        let _open = self.patience.enter();
        let (mut answered_before, mut tries) = (0, 0);
        loop {
            if tries <= MAX_TRIES - 2 {
                answered_before = self.patience.answered();
            }
            let error = match self.send(&call, &request).await? {
                Sent::Answered(reply) => return Ok(Ok(reply)),
                Sent::Refused(reason) => return Ok(Err(reason)),
                Sent::Again(error) => error,
            };
            tries += u32::from(!error.is_rate_limit());
            if tries >= MAX_TRIES {
                return self.give_up(&error, answered_before).await;
            }
            self.complain(&error).await?;
            let pause = retry::pause(tries.max(1), error.retry_after());
            self.unless_ended(tokio::time::sleep(pause)).await?;
            call.key.number += 1;
        }
    }

    /// One call.
    async fn send(&self, call: &NewCall, request: &CompletionRequest) -> Asked<Sent> {
        let turn = self.written_down(call).await?;
        // A pause and a drain let the calls under way end; a cancel or a lost lease does not wait for them.
        let answer = self.in_time(async { Ok(self.teacher.ask(turn, request).await) }).await;
        let answer = answer.map_err(|error| self.end(error))?.map(reply);
        let outcome = match &answer {
            Ok(reply) => CallOutcome::Answered(reply.clone()),
            Err(error) if error.may_have_been_done() => CallOutcome::Unknown(chain(error)),
            Err(error) => CallOutcome::Failed(chain(error)),
        };
        self.ledger.settle(call.key, outcome).map_err(|closed| self.end_closed(closed))?;
        match answer {
            Ok(reply) => {
                self.note_answer();
                Ok(Sent::Answered(reply))
            }
            Err(error) => self.judge(error).await,
        }
    }

    /// Writes a call down and waits for its turn. It is written down shortly before its turn, and not while it has it: nobody
    /// would ask the teacher meanwhile.
    async fn written_down(&self, call: &NewCall) -> Asked<Turn> {
        let near = self.unless_ended(self.teacher.near()).await?;
        let mut begun = pin!(self.begin(call.clone()));
        let turn = match timeout(PLACE_KEPT, &mut begun).await {
            Ok(begun) => {
                begun?;
                self.unless_ended(near.turn()).await
            }
            // The budget has no room for now: its place is for other jobs meanwhile.
            Err(_) => {
                drop(near);
                begun.await?;
                self.unless_ended(async { self.teacher.near().await.turn().await }).await
            }
        };
        turn.or_else(|ended| self.take_back(call).and(Err(ended)))
    }

    /// Writes a call down, when there is room for it.
    async fn begin(&self, call: NewCall) -> Asked<()> {
        let worst = Tokens { input: call.input_tokens, output: call.output_tokens };
        match self.ledger.begin(call).await.map_err(|closed| self.end_closed(closed))? {
            Permission::Granted => Ok(()),
            Permission::NoRoom(sums) => Err(self.end(pause::out_of_budget(self.spec, self.teacher, &sums, worst))),
            Permission::Stopping(stop) => Err(self.end(AttemptError::Stopped(stop))),
            Permission::Ended => Err(Ended),
        }
    }

    /// Settles a call that was written down and will not be sent.
    fn take_back(&self, call: &NewCall) -> Asked<()> {
        let outcome = CallOutcome::Failed("it was not sent: no further call was to begin".to_owned());
        self.ledger.settle(call.key, outcome).map_err(|closed| self.end_closed(closed))
    }

    fn request(&self, sample: i32, messages: Vec<Message>) -> CompletionRequest {
        CompletionRequest {
            messages,
            temperature: self.spec.temperature,
            max_output_tokens: self.spec.max_output_tokens,
            stop: prompt::stop_sequences(&self.spec.task),
            // A teacher asked once is asked as it is: not all know seeds.
            seed: (self.spec.samples > 1).then(|| u64::try_from(sample).unwrap_or_default()),
            answer_schema: prompt::answer_schema(&self.spec.task, self.spec.answer_form),
            idempotency_key: None,
        }
    }

    /// The same over all tries and attempts: a teacher that honors it answers a repeated question from its memory. A question
    /// that was set aside is another one, and so is one that is put otherwise since the worker was configured anew: the same
    /// key for it is an error to a strict teacher.
    fn idempotency_key(&self, call: &NewCall) -> String {
        let CallKey { example_index, sample, purpose, .. } = call.key;
        let digest: String = call.request_sha256.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let key = format!("{}-{example_index}-{sample}-{digest}-{}", self.attempt.job.id, purpose.as_str());
        if call.round == 0 { key } else { format!("{key}-{}", call.round) }
    }

    fn new_call(&self, question: &Question, sample: i32, purpose: CallPurpose, request: &CompletionRequest) -> NewCall {
        let Tokens { input, output } = request.worst_case();
        let number = question.next_number(sample, purpose);
        NewCall {
            key: CallKey { example_index: question.index, sample, purpose, number },
            round: question.round(),
            request_sha256: self.teacher.request_sha256(request),
            input_tokens: input,
            output_tokens: output,
        }
    }
}

fn reply(completion: Completion) -> Reply {
    let Tokens { input, output } = completion.tokens();
    Reply {
        text: completion.text,
        finish_reason: completion.finish_reason,
        input_tokens: input,
        output_tokens: output,
        latency_ms: completion.latency.as_millis().try_into().unwrap_or(i64::MAX),
    }
}
