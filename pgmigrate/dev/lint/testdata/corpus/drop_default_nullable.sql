alter table orders alter column note set default 'none';
alter table orders alter column note drop default;
