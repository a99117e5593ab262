insert into customers (name) values ('a'), ('b') on conflict do nothing;
