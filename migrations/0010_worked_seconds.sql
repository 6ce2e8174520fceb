-- How long a job was really worked on, so that estimates and their errors do not count pauses, backoff and waiting.

alter table jobs
    add column worked_seconds double precision not null default 0,
    add constraint jobs_work_counted check (worked_seconds >= 0);
comment on column jobs.worked_seconds is
    'Seconds that workers held it, summed over the attempts that have ended; 0 for jobs that ended before this was kept.';

-- Every way out of running ends an attempt, so it is counted in one place. A worker that was lost counts until its lease
-- ran out: what it did after that was nobody''s. Only statements that set the state come by here: beats do not.
create function count_work() returns trigger language plpgsql as $$
begin
    new.worked_seconds := old.worked_seconds
        + greatest(0, coalesce(extract(epoch from least(clock_timestamp(), old.lease_expires_at) - old.pace_at), 0));
    return new;
end
$$;
comment on function count_work() is 'Adds the time of an attempt that ends to its job.';
create trigger jobs_worked before update of state on jobs for each row
    when (old.state = 'running' and new.state <> 'running')
    execute function count_work();

-- A training has always told its own time; nothing is known of the others.
update jobs set worked_seconds = greatest(0, (result ->> 'seconds')::double precision)
    where kind = 'distillation' and state = 'succeeded' and jsonb_typeof(result -> 'seconds') = 'number';
