-- Fails as soon as the table has a row.
-- want required-column
alter table orders add column channel text not null;
