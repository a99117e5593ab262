-- want truncate
truncate table old.drafts;
