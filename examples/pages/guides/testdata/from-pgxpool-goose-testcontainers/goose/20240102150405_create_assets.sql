-- +goose Up
create table public.assets (id bigint primary key);

-- +goose Down
drop table public.assets;
