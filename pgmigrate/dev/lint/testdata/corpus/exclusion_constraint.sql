create extension if not exists btree_gist;
-- want exclusion-constraint
alter table bookings add constraint no_overlap exclude using gist (room with =, during with &&);
