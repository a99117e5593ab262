create type colour as enum ('red');
alter type colour add value 'blue';
create table paints (colour colour not null default 'blue');
