drop policy own on secrets;
create policy theirs on secrets using (owner = current_user);
