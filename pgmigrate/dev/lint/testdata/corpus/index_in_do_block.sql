-- want index-without-concurrently
do $body$
begin
	if not exists (select from pg_class where relname = 'orders_note') then
		execute 'create index orders_note on ' || quote_ident('orders') || ' (note)';
	end if;
end
$body$;
