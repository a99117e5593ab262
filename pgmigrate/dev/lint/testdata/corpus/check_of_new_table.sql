create table invoices (id bigint primary key, total numeric check (total > 0));
alter table invoices add constraint small check (total < 1000);
