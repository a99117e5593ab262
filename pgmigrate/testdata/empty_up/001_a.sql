
-- nothing yet
---- create above / drop below ----
drop table a;
