-- want sequence-reset
alter sequence numbers restart with 100;
