create table a (id int);
{{ end }}
