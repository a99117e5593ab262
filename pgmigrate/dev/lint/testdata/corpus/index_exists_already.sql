-- IF NOT EXISTS finds it: nothing is built.
create index if not exists orders_customer on orders (customer_id);
