{{ template "shared/t2.sql" . }}
---- create above / drop below ----
drop table {{ .prefix }}t2;
