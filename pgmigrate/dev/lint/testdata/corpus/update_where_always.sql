-- want write-without-where
update customers set points = 0 where 1 < 2 and not false;
