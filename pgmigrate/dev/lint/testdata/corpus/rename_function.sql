-- want rename-function
alter function price(bigint) rename to cost;
