---- tern: disable-tx ----
create index concurrently b on a (id);
