-- What the Hub ids of a job meant when its first attempt looked them up.

create table hub_commits (
    job_id uuid not null references jobs (id) on delete cascade,
    model text not null,
    project_id uuid not null references projects (id),
    commit text not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (job_id, model),
    constraint hub_commits_is_hexadecimal check (commit ~ '^[0-9a-f]{40}$')
);
comment on table hub_commits is 'The commit of each model of the Hugging Face Hub that a job uses: written once, so that a later attempt uses the same files though a branch has moved.';
comment on column hub_commits.job_id is 'The job.';
comment on column hub_commits.model is 'The Hub id as the job has it: owner/name or owner/name@revision.';
comment on column hub_commits.project_id is 'Who owns it.';
comment on column hub_commits.commit is 'What the revision meant.';
comment on column hub_commits.created_at is 'When it was looked up.';
