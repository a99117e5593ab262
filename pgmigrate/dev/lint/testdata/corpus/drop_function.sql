-- want drop-function
drop function price(bigint);
