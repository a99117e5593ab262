---- tern: disable-tx ----
begin;
set local lock_timeout = '2s';
-- want index-without-concurrently
create index orders_note on orders (note);
commit;
