create table a (
  id int,
  {{ .column }} text
);
