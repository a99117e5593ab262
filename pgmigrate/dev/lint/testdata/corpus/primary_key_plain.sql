-- want unique-constraint
alter table bookings add primary key (room);
