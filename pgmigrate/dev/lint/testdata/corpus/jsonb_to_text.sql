-- want column-type
alter table customers alter column settings type text;
