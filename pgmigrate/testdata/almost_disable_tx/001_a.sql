
-- tern: disable-tx --
create index concurrently b on a (id);
---- create above / drop below ----

  ---- tern: disable-tx ---- 
drop index concurrently b;
---- tern: disable-tx ---- 
select 1;
