{{ if true }}alter table t1 add note text default '{{ upper "x" }}';{{ end }}
---- create above / drop below ----
alter table t1 drop note;
