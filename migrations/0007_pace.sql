-- Where the running attempt began and when, so that the time left is told by its own pace: not by the pauses before it.

alter table jobs
    add column pace_step bigint,
    add column pace_at timestamptz,
    add constraint jobs_pace_whole check ((pace_step is null) = (pace_at is null) and (pace_step is null or pace_step >= 0));
comment on column jobs.pace_step is 'The step from which the newest attempt''s pace counts; an attempt that begins further back takes it along.';
comment on column jobs.pace_at is 'When the newest attempt began.';
