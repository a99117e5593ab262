alter table orders alter column total set default 1, alter column note drop default;
