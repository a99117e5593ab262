-- Inserts that leave the id out fail.
-- want drop-default
alter table customers alter column id drop identity;
