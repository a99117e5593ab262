create table children () inherits (old.drafts);
