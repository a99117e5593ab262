-- want write-without-where
update orders o set note = c.name from customers c where c.id = o.customer_id;
