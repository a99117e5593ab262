-- want unique-constraint
alter table orders add column number bigint unique;
