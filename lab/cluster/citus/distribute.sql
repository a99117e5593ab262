select create_reference_table('sites');
select create_distributed_table('pages', 'site_id');
select create_distributed_table('accounts', 'site_id', colocate_with => 'pages');
select create_distributed_table('lines', 'site_id', colocate_with => 'pages');
