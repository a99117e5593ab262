-- want truncate
do $$ begin execute 'truncate archive'; end $$;
