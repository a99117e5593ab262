-- The column goes with it.
-- want cascade
-- want drop-column
drop type order_state cascade;
