-- The old name is there again in the end.
create table archive_new (like archive including all);
alter table archive rename to archive_old;
alter table archive_new rename to archive;
