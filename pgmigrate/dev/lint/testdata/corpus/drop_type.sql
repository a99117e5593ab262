-- want drop-type
drop type mood;
