create table a (id int);
-- want fails
alter table no_such_table add column a int;
