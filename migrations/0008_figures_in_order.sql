-- Figures are followed in the order of their writing. By step and name they cannot be: a step's accuracy is written seconds
-- after its losses, and a later attempt writes earlier steps anew.

alter table job_metrics add column id bigint generated always as identity;
create unique index job_metrics_in_order on job_metrics (job_id, id);
comment on column job_metrics.id is 'The place in the order of writing; new whenever the figure is written. Writers of one job follow one another, so their ids do as well.';
