-- The ledger of calls to teachers. Each is written down before it is sent and settled after, so that no crash hides what was
-- paid for; what is answered once is never bought twice.

create table teacher_calls (
    job_id uuid not null references jobs (id) on delete cascade,
    example_index bigint not null,
    sample integer not null,
    purpose text not null,
    number integer not null,
    project_id uuid not null references projects (id),
    lease_epoch bigint not null,
    round integer not null,
    request_sha256 bytea not null,
    state text not null,
    reserved_input_tokens bigint not null,
    reserved_output_tokens bigint not null,
    reply text,
    finish_reason text,
    input_tokens bigint,
    output_tokens bigint,
    latency_ms bigint,
    error text,
    reused_from_job_id uuid references jobs (id) on delete set null,
    sent_at timestamptz not null default clock_timestamp(),
    settled_at timestamptz,
    set_aside_at timestamptz,
    primary key (job_id, example_index, sample, purpose, number),
    constraint teacher_calls_place_counted
        check (example_index >= 0 and sample >= 0 and number >= 0 and round >= 0 and lease_epoch >= 1),
    constraint teacher_calls_purpose_known check (purpose in ('answer', 'repair', 'rationalization')),
    constraint teacher_calls_digest_is_sha256 check (octet_length(request_sha256) = 32),
    constraint teacher_calls_state_known check (state in ('sent', 'answered', 'failed', 'unknown', 'reused')),
    constraint teacher_calls_settled_unless_sent check ((state = 'sent') = (settled_at is null)),
    constraint teacher_calls_reply_iff_answered check ((state in ('answered', 'reused')) = (reply is not null)),
    constraint teacher_calls_reply_whole check (
        (reply is null) = (input_tokens is null) and (reply is null) = (output_tokens is null)
        and (reply is null) = (latency_ms is null) and (reply is not null or finish_reason is null)
    ),
    constraint teacher_calls_error_iff_lost check ((state in ('failed', 'unknown')) = (error is not null)),
    constraint teacher_calls_tokens_counted check (
        reserved_input_tokens >= 0 and reserved_output_tokens >= 0
        and input_tokens >= 0 and output_tokens >= 0 and latency_ms >= 0
    ),
    constraint teacher_calls_reuse_is_free check (
        state <> 'reused'
        or (reserved_input_tokens = 0 and reserved_output_tokens = 0 and input_tokens = 0 and output_tokens = 0)
    ),
    constraint teacher_calls_source_of_a_reuse check (reused_from_job_id is null or state = 'reused'),
    constraint teacher_calls_set_aside_when_settled check (set_aside_at is null or state <> 'sent')
);
comment on table teacher_calls is $$The ledger: a row for each HTTP request to a teacher, committed before it is sent, and one for each answer that was taken from here instead. States, and who moves a call between them:
sent: written down; it may be on its way. Left by its settlement. A crash leaves it so until the next attempt begins.
answered: its reply is here, and was paid for. Entered by the settlement.
failed: the teacher did not do it, so that it cost nothing. Entered by the settlement.
unknown: whether it was done and paid for is not known: no answer came in time, or the worker died. It counts as spent at what was reserved for it. Entered by the settlement, by the end of an attempt and by the begin of the next one.
reused: not sent at all: an equal request had been answered. Entered at once.$$;
comment on column teacher_calls.job_id is 'The annotation job.';
comment on column teacher_calls.example_index is 'The example''s place in its file, from 0.';
comment on column teacher_calls.sample is 'Which of the example''s samples, from 0.';
comment on column teacher_calls.purpose is 'answer: the question itself; repair: once more with what was wrong with the answer; rationalization: once more with the right label.';
comment on column teacher_calls.number is 'Which call for this sample and purpose, from 0: those before it failed, are unknown or were set aside.';
comment on column teacher_calls.project_id is 'Who owns it; answers are reused within a project.';
comment on column teacher_calls.lease_epoch is 'The hold under which it was written down.';
comment on column teacher_calls.round is 'How often the example had been set aside before. The Idempotency-Key holds it, so that a teacher which honors the key repeats itself within a round and answers anew in the next.';
comment on column teacher_calls.request_sha256 is 'The digest of address, body and sample of the request: equal requests have equal answers.';
comment on column teacher_calls.state is 'Where it stands; see the table''s comment.';
comment on column teacher_calls.reserved_input_tokens is 'Tokens that the prompt may have, at most, by a rule of thumb.';
comment on column teacher_calls.reserved_output_tokens is 'Tokens that the answer may have, at most.';
comment on column teacher_calls.reply is 'The teacher''s text as it came.';
comment on column teacher_calls.finish_reason is 'Why the text ends, in the teacher''s word.';
comment on column teacher_calls.input_tokens is 'Tokens of the prompt, by the teacher''s count; 0 for a reused answer.';
comment on column teacher_calls.output_tokens is 'Tokens of the answer, by the teacher''s count; 0 for a reused answer.';
comment on column teacher_calls.latency_ms is 'Milliseconds from request to answer; of a reused answer those that it once took.';
comment on column teacher_calls.error is 'Why there is no answer.';
comment on column teacher_calls.reused_from_job_id is 'The job that had paid for a reused answer; null when that job is gone.';
comment on column teacher_calls.sent_at is 'When it was written down, just before it was sent.';
comment on column teacher_calls.settled_at is 'When its outcome was committed.';
comment on column teacher_calls.set_aside_at is 'When its example was to be asked anew: since then nobody takes its answer.';

-- Answers by the question. Not unique: two equal requests may have been under way at once.
create index teacher_calls_answers on teacher_calls (project_id, request_sha256)
    where state = 'answered' and set_aside_at is null;
-- What a dead worker may have left.
create index teacher_calls_sent on teacher_calls (job_id) where state = 'sent';

create table annotation_sums (
    job_id uuid primary key references jobs (id) on delete cascade,
    project_id uuid not null references projects (id),
    valid bigint not null default 0,
    invalid bigint not null default 0,
    refused bigint not null default 0,
    truncated bigint not null default 0,
    failed bigint not null default 0,
    answered_calls bigint not null default 0,
    failed_calls bigint not null default 0,
    unknown_calls bigint not null default 0,
    reused_calls bigint not null default 0,
    input_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    unknown_input_tokens bigint not null default 0,
    unknown_output_tokens bigint not null default 0,
    reserved_input_tokens bigint not null default 0,
    reserved_output_tokens bigint not null default 0,
    smoke text,
    constraint annotation_sums_counted check (
        valid >= 0 and invalid >= 0 and refused >= 0 and truncated >= 0 and failed >= 0
        and answered_calls >= 0 and failed_calls >= 0 and unknown_calls >= 0 and reused_calls >= 0
        and input_tokens >= 0 and output_tokens >= 0 and unknown_input_tokens >= 0 and unknown_output_tokens >= 0
        and reserved_input_tokens >= 0 and reserved_output_tokens >= 0
    ),
    constraint annotation_sums_smoke_known check (smoke in ('passed', 'failed'))
)
-- It is written with every batch of calls: room for its next version in the same page.
with (fillfactor = 10);
comment on table annotation_sums is 'What the verdicts and calls of an annotation job add up to, kept in the transaction that changes them: its progress, and what its budget is held against.';
comment on column annotation_sums.job_id is 'The annotation job.';
comment on column annotation_sums.project_id is 'Who owns it.';
comment on column annotation_sums.valid is 'Examples with a valid verdict.';
comment on column annotation_sums.invalid is 'Examples whose answers could not be read.';
comment on column annotation_sums.refused is 'Examples that the teacher declined.';
comment on column annotation_sums.truncated is 'Examples whose answers ended too early.';
comment on column annotation_sums.failed is 'Examples that got no answer.';
comment on column annotation_sums.answered_calls is 'Calls that were answered, and paid for.';
comment on column annotation_sums.failed_calls is 'Calls that failed, and cost nothing.';
comment on column annotation_sums.unknown_calls is 'Calls of which nobody knows whether they were done and paid for.';
comment on column annotation_sums.reused_calls is 'Answers that were taken from the ledger.';
comment on column annotation_sums.input_tokens is 'Tokens of the prompts of answered calls.';
comment on column annotation_sums.output_tokens is 'Tokens of the answers of answered calls.';
comment on column annotation_sums.unknown_input_tokens is 'Prompt tokens that were reserved for the unknown calls.';
comment on column annotation_sums.unknown_output_tokens is 'Answer tokens that were reserved for the unknown calls.';
comment on column annotation_sums.reserved_input_tokens is 'Prompt tokens reserved for the calls under way.';
comment on column annotation_sums.reserved_output_tokens is 'Answer tokens reserved for the calls under way.';
comment on column annotation_sums.smoke is 'What the first rows were found to be: passed or failed; null before that. It is judged once: who resumes a job whose first rows failed wants the rest.';

-- An example's row is its verdict, drawn from all its samples.
alter table annotations
    add column samples integer not null default 1,
    add column agreement double precision,
    add column more_rationales text[] not null default '{}',
    add column repaired boolean not null default false,
    add column rationalized boolean not null default false;
update annotations set agreement = 1 where status = 'valid';
alter table annotations
    add constraint annotations_samples_counted check (samples >= 1),
    add constraint annotations_agreement_iff_valid check ((status = 'valid') = (agreement is not null)),
    add constraint annotations_agreement_is_a_share check (agreement > 0 and agreement <= 1),
    add constraint annotations_first_rationale_first check (rationale is not null or cardinality(more_rationales) = 0),
    add constraint annotations_rationalized_with_truth
        check (not rationalized or (label is not null and rationale is not null));
comment on table annotations is 'What became of each example: a row an example, committed as soon as its answers are in, so that a restart asks for none twice. The answers themselves are in teacher_calls.';
comment on column annotations.status is 'valid: a label was read; invalid: none of the set could be; refused: the teacher declined; truncated: the answer ended too early; failed: no answer came. Of several samples none of which is valid, the first one''s.';
comment on column annotations.teacher_label is 'The label of most samples; of equally many the one that the earliest sample gave.';
comment on column annotations.rationale is 'The first rationale that is kept.';
comment on column annotations.raw_output is 'The text of the first sample that gave the label; of the first sample where none did.';
comment on column annotations.input_tokens is 'Tokens of all prompts that were paid for, by the teacher''s count.';
comment on column annotations.output_tokens is 'Tokens of all answers that were paid for, by the teacher''s count.';
comment on column annotations.latency_ms is 'Milliseconds from request to answer; of several samples the longest.';
comment on column annotations.samples is 'How many samples it was asked for.';
comment on column annotations.agreement is 'Share of all samples that gave the label, in (0, 1]; null where there is none.';
comment on column annotations.more_rationales is 'Further rationales that are kept, each another, in the order of the samples.';
comment on column annotations.repaired is 'Whether the label rests on an answer that was read only after a repair.';
comment on column annotations.rationalized is 'Whether the rationale was written by a teacher that had been shown the right label.';

-- Jobs from before the ledger: each row was one call.
insert into annotation_sums (job_id, project_id, valid, invalid, refused, truncated, failed, answered_calls, failed_calls,
        input_tokens, output_tokens)
    select job_id, project_id, count(*) filter (where status = 'valid'), count(*) filter (where status = 'invalid'),
        count(*) filter (where status = 'refused'), count(*) filter (where status = 'truncated'),
        count(*) filter (where status = 'failed'), count(*) filter (where status <> 'failed'),
        count(*) filter (where status = 'failed'), sum(input_tokens), sum(output_tokens)
    from annotations
    group by job_id, project_id;
