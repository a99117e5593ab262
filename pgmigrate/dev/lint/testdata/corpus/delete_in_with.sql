-- want write-without-where
with gone as (delete from old.drafts returning id) select count(*) from gone;
