drop function price(bigint);
create function price(id bigint, rounded boolean default false) returns numeric language sql stable as 'select total from orders where id = $1';
