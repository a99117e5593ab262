-- want write-without-where
delete from old.drafts;
