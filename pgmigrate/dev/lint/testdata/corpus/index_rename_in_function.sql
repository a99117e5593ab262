create function swap_names() returns void language sql as 'alter index customers_name rename to customers_n';
select swap_names();
