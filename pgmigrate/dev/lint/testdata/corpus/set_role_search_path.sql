set local search_path = shop, public;
-- want drop-column
alter table "Items" drop column "Label";
