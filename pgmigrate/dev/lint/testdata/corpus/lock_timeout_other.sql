set local lock_timeout = '500ms';
alter table orders add column a int;
