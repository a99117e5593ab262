-- want disabled-trigger
alter table orders disable trigger orders_touch;
