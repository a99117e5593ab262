create temporary table fixes (id bigint, note text);
update orders o set note = f.note from fixes f where f.id = o.id;
