-- want unique-constraint
alter table orders add constraint orders_code_key unique (code);
