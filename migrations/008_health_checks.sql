-- The simplest table of the schema, and the last: one to copy, and one to roll back and forth without loss.

create table public.health_checks (
  id         bigint      not null generated always as identity,
  component  text        not null,
  status     text        not null,
  latency_ms integer     not null,
  detail     text,
  checked_at timestamptz not null default now(),
  constraint health_checks_pkey primary key (id),
  constraint health_checks_component_not_blank check (component ~ '\S'),
  constraint health_checks_status_known check (status in ('up', 'down', 'unknown')),
  constraint health_checks_latency_not_negative check (latency_ms >= 0)
);

create index health_checks_component_checked_at on public.health_checks (component, checked_at);

comment on table public.health_checks is 'Outcome of a health check of one component at one time.';
comment on column public.health_checks.latency_ms is 'How long the check took, in milliseconds.';
comment on column public.health_checks.detail is 'What was wrong, in words; null when there is nothing to say.';

---- create above / drop below ----

drop table public.health_checks;
