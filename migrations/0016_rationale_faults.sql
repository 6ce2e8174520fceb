-- What is wrong with rationales, found when they are settled, so that a report over a million of them reads none.

alter table annotations
    add column rationale_faults text[],
    add column rationale_fingerprint bigint,
    add constraint annotations_faults_of_a_rationale check (rationale is not null or rationale_faults is null),
    add constraint annotations_fingerprint_of_a_rationale check ((rationale_faults is null) = (rationale_fingerprint is null));
comment on column annotations.rationale_faults is
    'What is wrong with the first rationale, as far as that is seen without ground truth: contradicts_label, restates_input, repeats_itself, empty_of_label. Null where there is none, or where it was settled before this was looked for.';
comment on column annotations.rationale_fingerprint is
    'A number that rationales of the same words have in common: one that an earlier example has is a duplicate.';
