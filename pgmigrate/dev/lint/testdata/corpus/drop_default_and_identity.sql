alter table customers alter column id drop identity;
