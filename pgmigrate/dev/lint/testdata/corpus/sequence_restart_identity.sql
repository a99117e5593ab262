-- want sequence-reset
alter table customers alter column id restart with 1;
