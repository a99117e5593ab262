{{ template "shared/t.sql" . }}
