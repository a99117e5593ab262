do $$
declare r record;
begin
	for r in select id from customers where points is null loop
		update customers set points = 0 where id = r.id;
	end loop;
end $$;
