-- want sequence-reset
select setval('numbers', 1);
