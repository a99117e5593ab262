-- Reads a whole table to compare numbers, while the first statement's lock stops everybody.
alter table orders add column a int;
-- want scan-while-locked
do $$ begin assert (select count(*) from customers where credit < 0) = 0; end $$;
