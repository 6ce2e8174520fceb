-- A call is written down under a hand in the job, and no longer under the job's lease.

alter table teacher_calls rename column lease_epoch to hand;
comment on column teacher_calls.hand is
    'The hand under which it was written down; for calls from before there were hands, the epoch of the lease on the job.';
