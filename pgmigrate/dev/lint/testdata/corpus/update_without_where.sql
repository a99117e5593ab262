-- want write-without-where
update customers set active = true;
