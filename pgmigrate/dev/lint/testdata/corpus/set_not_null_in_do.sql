-- want set-not-null
do $$ begin execute format('alter table %I alter column note set not null', 'orders'); end $$;
