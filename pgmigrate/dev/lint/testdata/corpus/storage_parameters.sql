alter table orders set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
alter table orders alter column note set storage external;
alter table orders alter column note set statistics 500;
