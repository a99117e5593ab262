-- A row found by its key: the lock is held for a moment longer.
alter table customers add column tier text;
update customers set tier = 'gold' where id = 1;
