-- want sequence-reset
select setval(pg_get_serial_sequence('customers', 'id'), (select max(id) from customers where id > 0));
