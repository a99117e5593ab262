-- Its check makes PostgreSQL write every row.
-- want table-rewrite
-- want required-column
alter table customers add column label code_required;
