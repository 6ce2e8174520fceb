-- How long an annotation's texts are, beside them, so that a report on a million rows reads none. The rows that there are get
-- theirs here, which writes the table once.

alter table annotations
    add column input_characters integer not null generated always as (char_length(input)) stored,
    add column rationale_characters integer generated always as (char_length(rationale)) stored;
comment on column annotations.input_characters is 'Unicode characters of the input.';
comment on column annotations.rationale_characters is 'Unicode characters of the first rationale; null where there is none.';
