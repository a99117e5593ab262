-- want drop-table
do $$
declare name text;
begin
	for name in select tablename from pg_tables where tablename like 'archive%' loop
		execute 'drop table ' || quote_ident(name);
	end loop;
end $$;
