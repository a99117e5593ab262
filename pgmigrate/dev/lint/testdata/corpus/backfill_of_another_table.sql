alter table orders add column tier text;
-- want backfill-in-ddl-transaction
insert into old.drafts (body) select name from customers;
