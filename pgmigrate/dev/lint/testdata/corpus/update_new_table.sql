create table flags (name text primary key, value boolean);
insert into flags values ('a', true);
update flags set value = false;
delete from flags;
