-- want drop-sequence
drop sequence numbers;
