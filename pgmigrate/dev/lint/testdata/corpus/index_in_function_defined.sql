-- Only stored, not run.
create or replace function build_another() returns void language plpgsql as $$
begin
	create index orders_note on orders (note);
	update orders set note = '';
end $$;
