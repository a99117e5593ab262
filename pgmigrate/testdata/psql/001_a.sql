select 1; -- \i is a comment here
select E'\\n';
\copy pages from pages.csv
---- create above / drop below ----

\connect other
