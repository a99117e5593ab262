-- want write-without-where
do $$ begin perform reset_through(); end $$;
