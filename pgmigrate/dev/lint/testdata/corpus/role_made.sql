create role pgmigrate_lint_corpus_nobody;
grant select on orders to pgmigrate_lint_corpus_nobody;
drop owned by pgmigrate_lint_corpus_nobody;
drop role pgmigrate_lint_corpus_nobody;
