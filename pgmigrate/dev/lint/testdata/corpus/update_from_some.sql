update orders o set note = c.name from customers c where c.id = o.customer_id and o.note is null;
update orders o set note = v.note from (values (1, 'a'), (2, 'b')) as v (id, note) where v.id = o.id;
update orders o set note = 'x' from (select id from orders where note is null order by id limit 100) batch where batch.id = o.id;
