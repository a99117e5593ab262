insert into customers (name, points) values ('a', 0), ('b', 0) on conflict do nothing;
