-- want drop-foreign-key
alter table orders drop constraint orders_customer_fk;
