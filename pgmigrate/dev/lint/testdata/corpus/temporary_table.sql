-- Nobody else can see a temporary table.
create temporary table orders_copy as select * from orders with no data;
create index on orders_copy (id);
update orders_copy set note = '';
alter table orders_copy alter column note type int using 0;
drop table orders_copy;
