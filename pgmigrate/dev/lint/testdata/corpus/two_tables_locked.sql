alter table orders add column a int;
-- want several-tables-locked
alter table customers add column a int;
