-- want drop-column
alter table customers drop column if exists birthday;
