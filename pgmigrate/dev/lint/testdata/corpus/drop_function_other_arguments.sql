-- want drop-function
drop function price(bigint);
create function price(id bigint, rounded boolean) returns numeric language sql stable as 'select total from orders where id = $1';
