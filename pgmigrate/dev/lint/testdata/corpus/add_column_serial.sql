-- want volatile-default
alter table orders add column position serial;
