-- want rename-schema
alter schema old rename to older;
