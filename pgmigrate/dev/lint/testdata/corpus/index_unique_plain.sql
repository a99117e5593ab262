-- want index-without-concurrently
create unique index if not exists orders_code_unique on public.orders using btree (code);
