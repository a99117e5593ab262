-- want write-without-where
with changed as (update customers set points = points + 1 returning id) insert into old.drafts (id) select id from changed;
