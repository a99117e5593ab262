-- now() is STABLE: computed once, not for each row.
alter table orders add column created_at timestamptz not null default now();
