-- The column's index has another order.
-- want column-type
alter table orders alter column code type varchar(10) collate "C";
