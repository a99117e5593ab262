-- want index-without-concurrently
create unique index if not exists orders_code_total on orders (code) include (total) where code is not null;
