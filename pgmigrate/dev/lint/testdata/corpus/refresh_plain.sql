-- want refresh-materialized-view
refresh materialized view totals;
