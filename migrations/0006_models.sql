-- Models by name: aliases beside the models' own names, what jobs use, where models come from, checkpoints of a job that
-- is still training, and which removed files are still to be swept.

alter table models
    add column base_model_id uuid references models (id),
    add column lineage jsonb,
    add column purged_at timestamptz,
    add constraint models_purged_if_deleted check (purged_at is null or deleted_at is not null);
comment on column models.base_model_id is 'The registered model that it was trained from; null for a folder or from scratch. The row of a deleted model stays, so the chain never breaks.';
comment on column models.lineage is 'What it was made of and how: base, data with digests, teachers, method, hyperparameters. Null for models from before this was kept.';
comment on column models.purged_at is 'When the files of a deleted model had been removed from the artifact store.';
create index models_by_base on models (base_model_id) where base_model_id is not null;
create index models_to_purge on models (id) where deleted_at is not null and purged_at is null;

create table checkpoints (
    id uuid primary key,
    project_id uuid not null references projects (id),
    job_id uuid not null references jobs (id),
    step bigint not null,
    accuracy double precision,
    metrics jsonb not null,
    lineage jsonb not null,
    artifact_prefix text not null,
    manifest_sha256 text not null,
    bytes bigint not null,
    created_at timestamptz not null default clock_timestamp(),
    deleted_at timestamptz,
    purged_at timestamptz,
    constraint checkpoints_step_counted check (step >= 0),
    constraint checkpoints_bytes_counted check (bytes >= 0),
    constraint checkpoints_manifest_is_hexadecimal check (manifest_sha256 ~ '^[0-9a-f]{64}$'),
    constraint checkpoints_purged_if_deleted check (purged_at is null or deleted_at is not null)
);
comment on table checkpoints is 'Students as they were at some step of a training. A row implies complete, verified, immutable files.';
comment on column checkpoints.id is 'UUIDv7 from the caller.';
comment on column checkpoints.project_id is 'Who owns it.';
comment on column checkpoints.job_id is 'The distillation that left it.';
comment on column checkpoints.step is 'The optimizer step after which it was left.';
comment on column checkpoints.accuracy is 'Accuracy on the validation rows at that step, 0..1, by which the best is told; null where it was not examined then.';
comment on column checkpoints.metrics is 'Figures at that step, by metric name.';
comment on column checkpoints.lineage is 'What it was made of and how.';
comment on column checkpoints.artifact_prefix is 'The folder of its files in the artifact store.';
comment on column checkpoints.manifest_sha256 is 'The digest of the manifest there, in lower-case hexadecimal.';
comment on column checkpoints.bytes is 'The size of all its files.';
comment on column checkpoints.created_at is 'When it was published.';
comment on column checkpoints.deleted_at is 'When retention or a request took it away; no read shows it.';
comment on column checkpoints.purged_at is 'When its files had been removed from the artifact store.';
create unique index checkpoints_by_step on checkpoints (job_id, step) where deleted_at is null;
create index checkpoints_to_purge on checkpoints (id) where deleted_at is not null and purged_at is null;

create table model_names (
    project_id uuid not null references projects (id),
    name text not null,
    kind text not null,
    model_id uuid references models (id),
    checkpoint_id uuid references checkpoints (id),
    folder text,
    target text not null,
    previous_target text,
    created_at timestamptz not null default clock_timestamp(),
    moved_at timestamptz not null default clock_timestamp(),
    primary key (project_id, name),
    constraint model_names_kind_known check (kind in ('model', 'alias')),
    constraint model_names_one_target check (num_nonnulls(model_id, checkpoint_id, folder) = 1),
    constraint model_names_model_is_itself check (kind = 'alias' or (model_id is not null and target = name))
);
comment on table model_names is $$What registered models are asked for by: each has its own name, and aliases are further ones that can be moved. One table, so that one primary key keeps a model and an alias from sharing a name.
model: entered when a distillation registers its model, left when the model is deleted.
alias: entered and moved by a request, left by a request.$$;
comment on column model_names.project_id is 'Who owns it.';
comment on column model_names.name is 'What a request says.';
comment on column model_names.kind is 'model or alias.';
comment on column model_names.model_id is 'The registered model that is meant.';
comment on column model_names.checkpoint_id is 'The checkpoint that an alias points to.';
comment on column model_names.folder is 'The folder below models_dir that an alias points to; it belongs to whoever made it and may go at any time.';
comment on column model_names.target is 'The name of what is meant; for a model its own.';
comment on column model_names.previous_target is 'What an alias pointed to before its last move.';
comment on column model_names.created_at is 'When the name was taken.';
comment on column model_names.moved_at is 'When an alias last came to mean something else.';
create index model_names_by_model on model_names (model_id) where model_id is not null;
create index model_names_by_checkpoint on model_names (checkpoint_id) where checkpoint_id is not null;
insert into model_names (project_id, name, kind, model_id, target, created_at, moved_at)
    select project_id, name, 'model', id, name, created_at, created_at from models where deleted_at is null;

create table alias_moves (
    id bigint generated always as identity primary key,
    project_id uuid not null references projects (id),
    alias text not null,
    from_target text,
    to_target text,
    created_at timestamptz not null default clock_timestamp(),
    constraint alias_moves_go_somewhere check (num_nonnulls(from_target, to_target) > 0)
);
comment on table alias_moves is 'Where each alias has pointed. It outlives the alias.';
comment on column alias_moves.id is 'Grows with time.';
comment on column alias_moves.project_id is 'Who owns the alias.';
comment on column alias_moves.alias is 'The alias.';
comment on column alias_moves.from_target is 'What it pointed to before; null when it was made.';
comment on column alias_moves.to_target is 'What it points to since; null when it was deleted.';
comment on column alias_moves.created_at is 'When it was moved.';
create index alias_moves_of_alias on alias_moves (project_id, alias, id);

create table job_models (
    job_id uuid not null references jobs (id) on delete cascade,
    model_id uuid not null references models (id),
    project_id uuid not null references projects (id),
    primary key (job_id, model_id)
);
comment on table job_models is 'Which models a job trains from or scores: none of them can be deleted before the job is terminal.';
comment on column job_models.job_id is 'The job.';
comment on column job_models.model_id is 'The model that it uses.';
comment on column job_models.project_id is 'Who owns both.';
create index job_models_by_model on job_models (model_id);

create table job_checkpoints (
    job_id uuid not null references jobs (id) on delete cascade,
    checkpoint_id uuid not null references checkpoints (id),
    project_id uuid not null references projects (id),
    primary key (job_id, checkpoint_id)
);
comment on table job_checkpoints is 'Which checkpoints a job trains from or scores: none of them can be removed before the job is terminal.';
comment on column job_checkpoints.job_id is 'The job.';
comment on column job_checkpoints.checkpoint_id is 'The checkpoint that it uses.';
comment on column job_checkpoints.project_id is 'Who owns both.';
create index job_checkpoints_by_checkpoint on job_checkpoints (checkpoint_id);
