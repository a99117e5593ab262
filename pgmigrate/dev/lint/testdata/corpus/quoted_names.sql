-- want drop-column
alter table "select" drop column "from";
-- want rename-column
alter table shop."Items" rename "Label" to "Title";
