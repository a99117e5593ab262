-- Every value has to be measured.
-- want column-type
alter table orders alter column note type varchar(100);
