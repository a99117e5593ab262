-- want required-column
-- want column-type
alter table customers add column a int not null, alter column points type bigint;
