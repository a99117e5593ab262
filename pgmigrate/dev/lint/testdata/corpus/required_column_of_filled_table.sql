create table copies as select id, name from customers;
create table notes (id bigint);
insert into notes select id from orders;
-- want required-column
alter table copies add column a int not null;
-- want required-column
alter table notes add column a int not null;
