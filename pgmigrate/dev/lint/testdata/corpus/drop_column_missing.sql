-- want drop-missing
alter table customers drop column if exists no_such_column;
