-- It is there already: nothing is written.
alter table bookings set tablespace pg_default;
