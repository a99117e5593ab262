---- tern: disable-tx ----
create index concurrently step_1_note on step_1 (note);

---- create above / drop below ----

drop index step_1_note;
