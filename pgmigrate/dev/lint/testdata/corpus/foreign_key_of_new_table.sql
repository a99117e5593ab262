create table invoices (
	id bigint generated always as identity primary key,
	order_id bigint not null references orders
);
alter table invoices add column customer_id bigint references customers;
