alter table customers add column tier text;
-- want write-without-where
-- want backfill-in-ddl-transaction
update customers set tier = 'a';
-- want set-not-null
alter table customers alter column tier set not null;
