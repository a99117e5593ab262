-- want write-without-where
select reset_any('customers');
