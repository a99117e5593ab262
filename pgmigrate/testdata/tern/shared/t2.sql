create table {{ .prefix }}t2 (id serial primary key);
