-- A distillation leaves its figures as a file.
alter table files
    drop constraint files_purpose_known,
    add constraint files_purpose_known
        check (purpose in ('fine-tune', 'evals', 'user_data', 'batch_output', 'fine-tune-results')) not valid;
alter table files validate constraint files_purpose_known;
comment on column files.purpose is 'fine-tune, evals, user_data, batch_output (written by an annotation or an evaluation), or fine-tune-results (the figures of a distillation by step).';
