-- want table-rewrite
alter table orders set unlogged;
