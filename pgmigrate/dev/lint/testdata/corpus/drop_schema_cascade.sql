-- want drop-schema
-- want drop-table
-- want cascade
drop schema old cascade;
