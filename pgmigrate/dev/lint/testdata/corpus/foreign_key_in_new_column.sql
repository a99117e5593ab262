-- The new column is null everywhere: PostgreSQL skips the validation.
alter table customers add column invited_by bigint references customers;
