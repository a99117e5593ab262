create table copies as select * from orders;
create index on copies (id);
alter table copies add primary key (id);
