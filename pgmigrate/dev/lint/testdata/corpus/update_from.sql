-- Every row, in spite of the join.
-- want write-without-where
update orders set note = 'x' from (select 1) as one;
