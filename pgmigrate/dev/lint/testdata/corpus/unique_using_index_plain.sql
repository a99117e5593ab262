-- Two steps, but the first is not concurrent.
-- want index-without-concurrently
create unique index orders_code_key on orders (code);
alter table orders add constraint orders_code_key unique using index orders_code_key;
