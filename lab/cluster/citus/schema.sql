create table sites (
  id   int  primary key,
  name text not null
);

create table pages (
  site_id int  not null references sites (id),
  id      uuid not null default gen_random_uuid(),
  path    text not null,
  title   text not null,
  primary key (site_id, id),
  unique (site_id, path)
);

create table accounts (
  site_id int    primary key references sites (id),
  balance bigint not null
);

create table lines (
  site_id  int    not null references sites (id),
  transfer bigint not null,
  target   int    not null
);
