-- want volatile-default
alter table orders add column created_at timestamptz default clock_timestamp();
