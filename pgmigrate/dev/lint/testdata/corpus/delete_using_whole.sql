-- want write-without-where
delete from orders using customers c where c.id = orders.customer_id;
