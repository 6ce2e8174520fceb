-- An annotation is shared by many workers: the file in chunks, and each worker's hold on those that it has taken.

create sequence annotation_hand_epochs;
comment on sequence annotation_hand_epochs is 'Numbers of hands: no two, of whatever job, have the same.';

create table annotation_hands (
    job_id uuid not null references jobs (id) on delete cascade,
    epoch bigint not null default nextval('annotation_hand_epochs'),
    project_id uuid not null references projects (id),
    worker uuid not null,
    expires_at timestamptz not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (job_id, epoch)
)
with (fillfactor = 50);
comment on table annotation_hands is 'Workers that have a hand in an annotation: each asks under a lease of its own, beside the lease of the one that leads the job. A row is renewed by beats; one that is not is taken away, and its chunks are open again.';
comment on column annotation_hands.job_id is 'The annotation job.';
comment on column annotation_hands.epoch is 'What tells this hand from every other one. Every write under it carries it.';
comment on column annotation_hands.project_id is 'Who owns the job.';
comment on column annotation_hands.worker is 'One start of one worker process.';
comment on column annotation_hands.expires_at is 'When anybody may take it away. Not indexed: beats must stay heap-only updates.';
comment on column annotation_hands.created_at is 'When the worker joined.';

create table annotation_chunks (
    job_id uuid not null references jobs (id) on delete cascade,
    number integer not null,
    project_id uuid not null references projects (id),
    first_index bigint not null,
    end_index bigint not null,
    line_number bigint not null,
    byte_offset bigint not null,
    end_offset bigint not null,
    hand bigint,
    settled_at timestamptz,
    primary key (job_id, number),
    foreign key (job_id, hand) references annotation_hands (job_id, epoch) on delete set null (hand),
    constraint annotation_chunks_counted
        check (number >= 0 and first_index >= 0 and first_index < end_index and line_number >= 1
            and byte_offset >= 0 and byte_offset < end_offset),
    constraint annotation_chunks_settled_by_nobody check (settled_at is null or hand is null)
)
with (fillfactor = 80);
comment on table annotation_chunks is $$Parts of an annotation's file, some hundred examples each. States, and who moves a chunk between them:
open (no hand, not settled): entered when it is planned by the worker that leads the job, and when the hand that has it ends or is taken away.
held (a hand): entered when a hand takes it. A crash leaves it so until the hand is taken away.
settled: each of its examples has a verdict. For good, but for a retry that takes verdicts away: that takes the job's chunks away as well, and they are planned anew.$$;
comment on column annotation_chunks.job_id is 'The annotation job.';
comment on column annotation_chunks.number is 'Its place among the chunks, from 0; without a gap.';
comment on column annotation_chunks.project_id is 'Who owns the job.';
comment on column annotation_chunks.first_index is 'The place of its first example in the file, from 0.';
comment on column annotation_chunks.end_index is 'The place after that of its last example.';
comment on column annotation_chunks.line_number is 'The number of its first line in the file, from 1: examples without an id are named by it.';
comment on column annotation_chunks.byte_offset is 'Where its first line begins: nobody reads what lies before.';
comment on column annotation_chunks.end_offset is 'Where the line after its last one begins, or would.';
comment on column annotation_chunks.hand is 'Who has it.';
comment on column annotation_chunks.settled_at is 'When all its examples had a verdict.';
create index annotation_chunks_open on annotation_chunks (job_id, number) where hand is null and settled_at is null;
create index annotation_chunks_held on annotation_chunks (job_id, hand) where hand is not null;

alter table annotation_sums add column closed boolean not null default false;
comment on column annotation_sums.closed is
    'Whether the worker that leads the job is about to let go of it: no call begins, no chunk is taken, and all hands end. The next leader opens it again.';
