-- want drop-table
drop table if exists archive;
