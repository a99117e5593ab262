drop view active_customers;
-- want column-type
alter table customers alter column active type int using active::int;
create view active_customers as select id, name from customers where active = 1;
