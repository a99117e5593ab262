select 1;
copy (select 1) to stdout;
