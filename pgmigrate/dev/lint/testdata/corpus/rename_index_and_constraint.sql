alter index customers_name rename to customers_by_name;
alter table orders rename constraint orders_total_check to total_not_negative;
