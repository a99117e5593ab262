-- want column-type
alter table customers alter column country type text;
