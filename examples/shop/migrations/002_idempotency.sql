-- The table of pgtx.IdempotencyTableSQL.
create table public.pgtx_idempotency_keys (
  key text primary key,
  owner text not null,
  fingerprint text not null,
  created_at timestamptz not null default now(),
  result jsonb
);

create index pgtx_idempotency_keys_created_at on public.pgtx_idempotency_keys (created_at);

---- create above / drop below ----

drop table public.pgtx_idempotency_keys;
