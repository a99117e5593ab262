---- tern: disable-tx ----
set lock_timeout = '2s';
alter table orders add column a int;
alter table customers add column a int;
