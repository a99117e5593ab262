-- want set-not-null
alter table orders alter column customer_id set not null;
