-- want column-type
alter table customers alter column seen type timestamptz(0);
