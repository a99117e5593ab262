create table a (id int);
-- want fails
alter table no_such_table add column a int;
create index orders_note on orders (note);
