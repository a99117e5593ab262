create or replace function total_of(bigint) returns numeric language sql stable
begin atomic
	select sum(total) from orders where customer_id = $1;
end;
create type address as (street text, city text);
create sequence ticket_numbers;
