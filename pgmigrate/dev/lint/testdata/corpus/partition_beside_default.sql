-- The default partition is scanned for rows of the new one.
-- want attach-partition
create table logs_2 partition of logs for values in (2);
