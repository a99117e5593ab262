-- want table-rewrite
alter table bookings set unlogged;
