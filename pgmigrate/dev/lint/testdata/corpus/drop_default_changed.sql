alter table orders alter column total drop default;
alter table orders alter column total set default 1;
