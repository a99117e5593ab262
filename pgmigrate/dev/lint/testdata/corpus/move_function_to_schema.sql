-- want rename-function
alter function price set schema shop;
