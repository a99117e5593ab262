-- want column-type
alter table customers alter column points type bigint;
