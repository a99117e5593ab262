-- want write-without-where
select reset_points();
