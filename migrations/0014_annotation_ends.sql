-- An annotation that failed or was cancelled has a result as well: what it had found by then, with its files.

alter table jobs
    drop constraint jobs_result_iff_succeeded,
    add constraint jobs_result_if_succeeded check (state <> 'succeeded' or result is not null),
    add constraint jobs_result_of_an_end check (
        result is null or state = 'succeeded' or (kind = 'annotation' and state in ('failed', 'cancelled'))
    ),
    add column end_claimed_until timestamptz,
    add constraint jobs_end_claimed_if_unwritten check (
        end_claimed_until is null or (kind = 'annotation' and state in ('failed', 'cancelled') and result is null)
    );
comment on column jobs.result is
    'What a succeeded job found. Of an annotation that failed or was cancelled, what it had found by then: any worker writes it soon after the end. A retry takes it away; the files stay.';
comment on column jobs.end_claimed_until is
    'Until when some worker writes the files of an annotation that failed or was cancelled; another one may begin after that. It saves work and guards nothing: the first to write the result has written it.';

-- Annotations whose files and result are still to be written: nearly always none.
create index jobs_ends_to_write on jobs (finished_at, id)
    where kind = 'annotation' and state in ('failed', 'cancelled') and result is null;
