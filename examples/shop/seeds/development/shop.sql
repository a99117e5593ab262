-- A seed runs again when it is edited, so it must be harmless on rows that are there.
insert into public.customers (email, name) values ('ada@example.com', 'Ada') on conflict do nothing;

insert into public.products (sku, title, price, stock)
values ('tea', 'Green tea', 450, 100), ('cup', 'Cup', 1200, 20), ('pot', 'Tea pot', 3900, 5)
on conflict do nothing;
