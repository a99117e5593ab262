-- want drop-index
drop index customers_name;
