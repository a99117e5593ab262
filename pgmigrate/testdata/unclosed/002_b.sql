select 1;

/* begins /* here */
select 2;
