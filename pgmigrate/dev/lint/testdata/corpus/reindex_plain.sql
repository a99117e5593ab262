-- want reindex
reindex table orders;
