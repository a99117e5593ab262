create table stays (during tsrange, exclude using gist (during with &&));
