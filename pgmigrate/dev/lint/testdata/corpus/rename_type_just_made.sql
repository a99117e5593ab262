create type feeling as enum ('good');
alter type feeling rename to feelings;
drop type feelings;
