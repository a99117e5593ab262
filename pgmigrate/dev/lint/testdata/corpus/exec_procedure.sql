create procedure fill() language plpgsql as $$ begin update old.drafts set body = 'x' where id < 0; end $$;
call fill();
