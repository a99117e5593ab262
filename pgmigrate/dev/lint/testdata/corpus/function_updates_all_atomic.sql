create function reset_points_atomic() returns void begin atomic update customers set points = 0; end;
-- want write-without-where
select reset_points_atomic();
