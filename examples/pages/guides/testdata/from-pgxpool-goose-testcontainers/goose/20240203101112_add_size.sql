-- +goose Up
-- +goose StatementBegin
alter table public.assets add column size bigint;
-- +goose StatementEnd

-- +goose Down
alter table public.assets drop column size;
