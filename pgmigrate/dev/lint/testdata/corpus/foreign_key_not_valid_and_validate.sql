alter table orders add constraint orders_customer_fk2 foreign key (customer_id) references customers (id) not valid;
-- want validate-in-same-transaction
alter table orders validate constraint orders_customer_fk2;
