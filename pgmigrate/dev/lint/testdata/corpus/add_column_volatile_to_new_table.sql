create table invoices (id bigint primary key);
alter table invoices add column token uuid not null default gen_random_uuid();
