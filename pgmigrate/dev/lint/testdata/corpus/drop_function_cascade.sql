-- The trigger goes with it.
-- want cascade
drop function touch() cascade;
