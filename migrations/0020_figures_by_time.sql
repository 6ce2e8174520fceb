-- A page of what a job has told begins at a time, wherever in the job's history that is.
create index job_metrics_by_time on job_metrics (job_id, created_at, id);
