-- Evaluation jobs leave a file too.
comment on column files.purpose is 'fine-tune, evals, user_data, or batch_output (written by an annotation or an evaluation job).';
