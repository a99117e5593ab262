-- "Adding a column with a CHECK constraint requires scanning the table": ALTER TABLE, notes on ADD CONSTRAINT.
-- want check-without-not-valid
alter table orders add column weight int check (weight > 0);
