-- "ATTACH PARTITION scans the table unless a CHECK constraint implies the partition's": documentation of ALTER TABLE.
-- want attach-partition
alter table events attach partition events_2026 for values from ('2026-01-01') to ('2027-01-01');
