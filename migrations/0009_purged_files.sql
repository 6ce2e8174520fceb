-- Deleted files are swept as deleted models are: a note says when their bytes were gone. And artifacts by where they lie,
-- so that a sweep finds those that no row names.

alter table files
    add column purged_at timestamptz,
    add constraint files_purged_if_deleted check (purged_at is null or deleted_at is not null);
comment on column files.purged_at is 'When the bytes of a deleted file had been removed from the artifact store.';
create index files_to_purge on files (id) where deleted_at is not null and purged_at is null;

create index files_by_artifact on files (artifact_key) where purged_at is null;
create index models_by_artifact on models (artifact_prefix) where purged_at is null;
create index checkpoints_by_artifact on checkpoints (artifact_prefix) where purged_at is null;
