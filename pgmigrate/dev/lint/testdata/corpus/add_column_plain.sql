alter table orders add column comment text;
