delete from orders using customers c where c.id = orders.customer_id and c.active is false;
