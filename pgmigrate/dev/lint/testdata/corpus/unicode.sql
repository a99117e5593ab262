insert into old.drafts (body) values ('größe; drop table orders; — ☃');
-- want drop-column
alter table orders drop column note; -- ☃
