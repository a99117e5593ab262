create rule no_delete as on delete to archive do instead (select 1; select 2);
