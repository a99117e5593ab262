create type colour as enum ('red', 'blue');
create table paints (colour colour not null default 'red');
insert into paints values ('blue');
