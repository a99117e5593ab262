-- A simple view under the old name can be read and written to.
alter table orders rename to purchases;
create view orders as select * from purchases;
