-- The column goes with it.
-- want cascade
-- want drop-column
-- want drop-type
drop type order_state cascade;
