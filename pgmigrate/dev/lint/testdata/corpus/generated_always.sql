-- want generated-always
alter table secrets alter column id set generated always;
