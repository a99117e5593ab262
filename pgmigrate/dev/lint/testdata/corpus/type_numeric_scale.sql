-- want column-type
alter table customers alter column credit type numeric(14, 4);
