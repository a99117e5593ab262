-- Runs, finds the column, and does nothing.
do $$
begin
	if not exists (select from information_schema.columns where table_name = 'orders' and column_name = 'note') then
		alter table orders add column note text not null;
		create index on orders (note);
	end if;
end $$;
