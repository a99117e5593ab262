alter table customers add column tier text;
-- want backfill-in-ddl-transaction
update customers set tier = 'gold' where points > 1000;
