-- want drop-type
drop domain code;
