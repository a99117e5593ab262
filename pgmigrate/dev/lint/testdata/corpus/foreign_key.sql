-- want foreign-key-without-not-valid
alter table orders add constraint orders_customer_fk2 foreign key (customer_id) references customers (id);
