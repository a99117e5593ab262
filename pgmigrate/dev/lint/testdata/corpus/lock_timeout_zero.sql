set lock_timeout = 0;
-- want no-lock-timeout
alter table orders add column a int;
