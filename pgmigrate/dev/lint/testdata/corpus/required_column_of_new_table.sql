create table notes (id bigint);
alter table notes add column a int not null;
