-- want rename-type
alter type mood rename to feeling;
