-- The pace at which all workers together ask a teacher. Every change is made under the lock of the teacher's row.

create table teacher_paces (
    project_id uuid not null references projects (id),
    teacher text not null,
    "window" double precision,
    threshold double precision not null,
    narrowed_at timestamptz,
    pushed_back bigint not null,
    outages integer not null,
    blocked_until timestamptz,
    next_request_at timestamptz,
    next_token_at timestamptz,
    tokens_a_call double precision,
    primary key (project_id, teacher),
    constraint teacher_paces_window_open check ("window" >= 1 and threshold >= 0),
    constraint teacher_paces_counted check (pushed_back >= 0 and outages >= 0 and tokens_a_call >= 0)
)
-- Rewritten a few times a second while a teacher is asked.
with (fillfactor = 50);
comment on table teacher_paces is 'How fast a teacher may be asked, by all workers together: what its push-backs (429, 503, 529) have taught, and where the limits on requests and tokens stand.';
comment on column teacher_paces.project_id is 'Who owns it; teachers of the configuration belong to the default project.';
comment on column teacher_paces.teacher is 'The teacher''s name in the configuration.';
comment on column teacher_paces."window" is 'Calls that may be under way at once, as push-backs have narrowed it; null: the configured concurrency.';
comment on column teacher_paces.threshold is 'Below it the window doubles with each round trip, above it grows by one.';
comment on column teacher_paces.narrowed_at is 'When the window was last narrowed: push-backs of calls sent before that belong to the same jam.';
comment on column teacher_paces.pushed_back is 'Calls pushed back since the last one that was answered.';
comment on column teacher_paces.outages is 'Waits in a row for a teacher that pushes everything back; each may be twice as long as the one before.';
comment on column teacher_paces.blocked_until is 'No worker begins a call before: the teacher asked for it, or pushes everything back.';
comment on column teacher_paces.next_request_at is 'When the limit on requests a minute allows the next one.';
comment on column teacher_paces.next_token_at is 'When the limit on tokens a minute allows the next request.';
comment on column teacher_paces.tokens_a_call is 'Tokens of a call on average, in and out: what a turn is charged until its answer is counted; null before the first.';

create table teacher_shares (
    project_id uuid not null,
    teacher text not null,
    worker uuid not null,
    permits bigint not null,
    wanted bigint not null,
    expires_at timestamptz not null,
    primary key (project_id, teacher, worker),
    foreign key (project_id, teacher) references teacher_paces (project_id, teacher) on delete cascade,
    constraint teacher_shares_counted check (permits >= 0 and wanted >= 0)
)
with (fillfactor = 50);
comment on table teacher_shares is 'How the calls that a teacher may have under way are divided among the workers that ask it. What one worker has, no other takes, until it is given up or expires.';
comment on column teacher_shares.project_id is 'Who owns the teacher.';
comment on column teacher_shares.teacher is 'The teacher''s name.';
comment on column teacher_shares.worker is 'One start of one worker process.';
comment on column teacher_shares.permits is 'Calls that it may have under way, or has.';
comment on column teacher_shares.wanted is 'Calls that it would have under way if it could.';
comment on column teacher_shares.expires_at is 'When a worker that no longer renews it counts as dead; the worker itself begins no call after that.';
