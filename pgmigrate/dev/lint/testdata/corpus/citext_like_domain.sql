-- text to a domain over text without constraint, then the constraint unvalidated.
create domain title as text;
alter table orders alter column note type title;
