-- want row-security-without-policy
do $$ begin execute 'alter table ' || 'customers' || ' enable row level security'; end $$;
