-- want drop-sequence
do $$ begin drop sequence numbers; end $$;
