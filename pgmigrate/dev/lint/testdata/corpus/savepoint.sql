savepoint s;
alter table orders add column a int;
rollback to s;
-- The lock is gone with the savepoint.
alter table customers add column a int;
