-- want write-without-where
do $$ declare name text := 'customers'; begin execute 'update ' || name || ' set points = 0'; end $$;
