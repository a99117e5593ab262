-- want volatile-default
alter table customers add column name_lower text generated always as (lower(name)) stored;
