do $$
declare n bigint;
begin
	select count(*) into n from customers;
	raise notice 'customers: %', n;
end $$;
