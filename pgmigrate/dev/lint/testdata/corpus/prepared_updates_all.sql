prepare reset as update customers set points = 0;
-- want write-without-where
execute reset;
