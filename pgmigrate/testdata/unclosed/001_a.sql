create table a (b text);
insert into a values ('it''s; done);
