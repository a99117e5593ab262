-- want rename-sequence
alter sequence numbers rename to tickets;
