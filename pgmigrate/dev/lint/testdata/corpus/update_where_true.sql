-- want write-without-where
update customers set active = true where 1 = 1;
