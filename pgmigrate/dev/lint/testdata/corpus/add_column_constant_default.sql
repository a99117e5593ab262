-- Since PostgreSQL 11 a constant default is stored once.
alter table orders add column priority int not null default 0, add column tags text[] not null default '{}';
