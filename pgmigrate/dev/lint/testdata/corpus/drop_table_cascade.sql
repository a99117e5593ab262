-- want drop-table
-- want cascade
drop table customers cascade;
