-- "ALTER DOMAIN ADD constraint [ NOT VALID ]": without, every column of the domain is checked.
-- want domain-constraint
alter domain email add constraint looks_like_mail check (value like '%@%');
