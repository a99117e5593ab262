create table invoices (id bigint primary key, order_id bigint not null);
create index invoices_order on invoices (order_id);
create unique index on invoices (order_id, id);
