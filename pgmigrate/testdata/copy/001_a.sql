create table a (id int, b text);
COPY public.a (id, b)
  FROM stdin;
1	it's
\.
