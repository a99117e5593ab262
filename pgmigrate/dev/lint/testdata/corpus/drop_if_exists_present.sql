drop trigger if exists orders_touch on orders;
drop function if exists touch();
alter table orders drop constraint if exists orders_total_check;
create schema staging;
drop schema if exists staging;
create temporary table scratch (id int);
drop table if exists scratch;
