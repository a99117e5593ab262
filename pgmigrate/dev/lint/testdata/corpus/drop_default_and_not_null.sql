alter table orders alter column total drop default, alter column total drop not null;
