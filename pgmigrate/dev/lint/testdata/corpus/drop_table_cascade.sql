-- The view and the foreign keys that refer to it go too.
-- want drop-table
-- want drop-view
-- want cascade
drop table customers cascade;
