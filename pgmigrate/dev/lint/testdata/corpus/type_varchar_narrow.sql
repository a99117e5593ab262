-- want column-type
alter table customers alter column nickname type varchar(10);
