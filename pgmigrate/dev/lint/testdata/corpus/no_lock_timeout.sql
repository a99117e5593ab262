---- tern: disable-tx ----
-- want no-lock-timeout
alter table orders add column a int;
create index concurrently orders_note on orders (note);
