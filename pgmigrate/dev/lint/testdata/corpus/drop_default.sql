-- want drop-default
alter table orders alter column state drop default;
