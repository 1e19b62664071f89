SELECT * FROM provconn_claim_due('bench', '-5 hours', 100);
