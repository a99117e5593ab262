-- want drop-column
alter table "select" drop column "from";
-- want rename-column
-- want several-tables-locked
alter table shop."Items" rename "Label" to "Title";
