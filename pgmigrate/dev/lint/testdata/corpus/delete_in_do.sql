-- want write-without-where
do $$
begin
	if true then
		delete from old.drafts;
	end if;
end $$;
