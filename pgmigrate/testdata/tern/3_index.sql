---- tern: disable-tx ----
create index concurrently t1_id on t1 (id);
create index concurrently t2_id on {{ .prefix }}t2 (id);
---- create above / drop below ----
---- tern: disable-tx ----
drop index concurrently t2_id;
drop index concurrently t1_id;
