-- want rename-table
alter table archive set schema old;
